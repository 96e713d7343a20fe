"""The stage `rejection-sampling`: sample, score, keep the best; leaves data for supervised and preference stages.

Sources: Llama 2 (arXiv 2307.09288, section 3.2.3) and Llama 3 (arXiv 2407.21783, section 4.2). A step is a batch of
prompts of one model; it depends on nothing but the model, the job's seed and its own number, so a killed stage goes on
after its last checkpoint and ends with the same rows.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from collegium import DataError, Stage
from collegium.judge import RewardJudge
from collegium.kinds.engine import Engine
from collegium.task import Sample, Task
from collegium.training.batch import rewards_of
from collegium.training.checkpoint import write_aside
from collegium.training.context import StageContext
from collegium.training.data_rows import plain_completion
from collegium.training.episodes import Played, play, settle
from collegium.training.generation import to_completion
from collegium.training.language_model import LanguageModel
from collegium.training.loop import job_digest
from collegium.training.rollouts import mean, reward_metrics
from collegium.training.seeds import derive, seed_everything
from collegium.training.supervised_data import DATA_FILE
from collegium.verdict import Abstain, Error, Score, Verdict
from collegium_rejection_sampling.configs import RejectionSamplingConfig
from collegium_rejection_sampling.earlier import OWNER, read_earlier
from collegium_rejection_sampling.judged import Judged, JudgedFile, plain_prompt
from collegium_rejection_sampling.selection import Selection, merge, select

PAIRS_FILE = "pairs.jsonl"
"""Name of the pairs' file in the data artifact's folder; `DATA_FILE` is that of the demonstrations."""


class RejectionSamplingStage(Stage):
    """Sample every prompt from every model, and keep the best."""

    Config = RejectionSamplingConfig

    def run(self, context: StageContext) -> None:
        """Do every step that is not done yet, then leave the data."""
        earlier = read_earlier(context)
        work = _Work(context, self.config, chosen_tasks(context, self.config.prompts))
        number = 1 + max((row["round"] for row in earlier), default=0)
        selection: Selection | None = None
        for step in range(work.resume() + 1, work.total + 1):
            metrics = work.step(step)
            if step == work.total:
                selection = select(work.file.read(), self.config, number)
                metrics |= selection.metrics
            context.emit(step, work.total, metrics)
            work.save(step)
        selection = selection or select(work.file.read(), self.config, number)
        rows = merge(selection.demonstrations, earlier, self.config)
        if not selection.demonstrations:
            raise DataError(
                f"stage {context.job.id!r}: none of {int(selection.metrics['prompts'])} prompts has a completion that "
                f"ended and scores at least {self.config.min_score}",
                fix="sample more, lower min_score, or start from a better model",
                owner=OWNER,
            )
        write_aside(context.output / "data", lambda folder: write_data(folder, rows, selection.pairs))


class _Work:
    """The stage's steps, and where it stands in them."""

    def __init__(self, context: StageContext, config: RejectionSamplingConfig, tasks: Sequence[Task]) -> None:
        self.context = context
        self.config = config
        self.models = context.job.inputs["generate_from"]
        self.batches = [tasks[start : start + config.batch] for start in range(0, len(tasks), config.batch)]
        self.total = len(self.models) * len(self.batches)
        self.file = JudgedFile(context.directory / "judged.jsonl")
        self.engine: Engine = context.build(config.engine, "engine")
        self.reward: RewardJudge = context.build_reward(config.reward)
        self.filters = [context.build_part(use, "verifier") for use in config.keep_if]
        self._job = job_digest(context.job)
        self._loaded: tuple[str, LanguageModel] | None = None

    def resume(self) -> int:
        """Return the last step that is done, after bringing every file and counter back to it."""
        state = self.context.checkpoints.latest()
        if state and state["job"] != self._job:
            self.context.message("the checkpoint found here is of other options or inputs: the stage starts anew")
            self.context.checkpoints.clear()
            state = None
        done = int(state["step"]) if state else 0
        if self.file.cut(done) != (state["rows"] if state else 0):
            self.context.message("the completions found here are not those of the checkpoint: the stage starts anew")
            self.context.checkpoints.clear()
            state, done = None, 0
            self.file.cut(0)
        self.context.journal.cut(done)
        if state:
            self._restore(state)
            self.context.message(f"resumes after step {done} of {self.total}")
        return done

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.context.rollouts, self.context.tokens_generated = state["counters"]
        for name, budget in self.context.budgets.items():
            budget.load_state_dict(state["budgets"][name])

    def save(self, step: int) -> None:
        """Write a checkpoint, where one is due."""
        if step % self.context.job.checkpoint_every and step != self.total:
            return
        state = {
            "step": step,
            "job": self._job,
            "rows": self.context.rollouts,
            "budgets": {name: budget.state_dict() for name, budget in self.context.budgets.items()},
            "counters": [self.context.rollouts, self.context.tokens_generated],
        }
        self.context.checkpoints.save(step, state)

    def step(self, number: int) -> dict[str, float]:
        """Sample and judge one batch of one model; return its metrics."""
        index, batch = divmod(number - 1, len(self.batches))
        model = self._model(self.models[index].path)
        seed = derive(self.context.seed, self.context.job.id, number, "rollouts")
        seed_everything(seed)
        started = time.perf_counter()
        samples, played = self._sample(model, self.batches[batch], seed)
        verdicts = self._judge(samples, played)
        self.context.write_samples(number, samples, verdicts)
        scores = rewards_of(verdicts)
        source = self.models[index].source
        passes = self._passes(samples)
        judged = [as_judged(*each, source) for each in zip(samples, scores, passes, strict=True)]
        self.file.append(number, judged)
        return {
            "rollouts": float(len(samples)),
            "length": mean(each.tokens for each in judged),
            "truncated": mean(each.truncated for each in judged),
            "verdicts/abstain": mean(isinstance(verdict, Abstain) for verdict in verdicts),
            "verdicts/error": mean(isinstance(verdict, Error) for verdict in verdicts),
            **reward_metrics(samples, verdicts),
            "time/step": time.perf_counter() - started,
        }

    def _passes(self, samples: Sequence[Sample]) -> list[bool]:
        """Say of each sample whether every verifier of `keep_if` scores it 1."""
        passes = [True] * len(samples)
        for judge in self.filters:
            found = judge.judge(samples)
            passes = [
                before and isinstance(verdict, Score) and verdict.value == 1
                for before, verdict in zip(passes, found, strict=True)
            ]
        return passes

    def _model(self, path: str) -> LanguageModel:
        """Return a model; the one before it is dropped first."""
        if self._loaded is None or self._loaded[0] != path:
            self._loaded = None
            self._loaded = (path, LanguageModel.load(path, self.context.device))
            self.engine.sync(self._loaded[1], 0)
        return self._loaded[1]

    def _judge(self, samples: list[Sample], played: list[Played]) -> list[Verdict]:
        """Judge the samples; those whose environment failed have their verdict already."""
        known = settle(samples, played, self.context.environments)
        asked = [sample for sample, verdict in zip(samples, known, strict=True) if verdict is None]
        judged = iter(self.reward.judge(asked))
        return [next(judged) if verdict is None else verdict for verdict in known]

    def _sample(self, model: LanguageModel, tasks: Sequence[Task], seed: int) -> tuple[list[Sample], list[Played]]:
        """Sample a completion of each task as often as asked for; where a domain has an environment, episodes."""
        prompts = [model.prompt_ids(task) for task in tasks]
        size = self.config.samples
        played = play(
            self.engine,
            model,
            [task for task in tasks for _ in range(size)],
            [prompt for prompt in prompts for _ in range(size)],
            self.config.sampling,
            [derive(seed, index) for index in range(len(prompts) * size)],
            self.context.environments,
        )
        made = [each.generation for each in played]
        self.context.rollouts += len(made)
        self.context.tokens_generated += sum(each.length for each in made)
        samples = [
            Sample(tasks[row // size], to_completion(each, model.tokenizer, model.stop_ids), group=row // size)
            for row, each in enumerate(made)
        ]
        return samples, played


def chosen_tasks(context: StageContext, most: int | None) -> list[Task]:
    """Return the training tasks of every domain, by its name; at most `most` of each, chosen by the seed."""
    chosen: list[Task] = []
    for name, tasks in sorted(context.tasks("train").items()):
        if most is not None and len(tasks) > most:
            rng = random.Random(derive(context.seed, context.job.id, "prompts", name))
            tasks = [tasks[index] for index in sorted(rng.sample(range(len(tasks)), most))]
        chosen += tasks
    return chosen


def as_judged(sample: Sample, score: float, passes: bool, source: str) -> Judged:
    """Return a sample as the stage keeps it; a score that is not a number is none."""
    task, completion = sample.task, sample.completion
    assert completion is not None  # it was sampled
    return Judged(
        task=task.id,
        domain=task.domain,
        prompt=plain_prompt(task),
        completion=plain_completion(completion.turns or completion.text),
        score=None if score != score else score,
        truncated=completion.finish_reason == "length",
        tokens=completion.length,
        source=source,
        passes=passes,
    )


def write_data(folder: Path, rows: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]) -> None:
    """Write the demonstrations and the pairs."""
    for name, found in ((DATA_FILE, rows), (PAIRS_FILE, pairs)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
        (folder / name).write_text(text, encoding="utf-8")
