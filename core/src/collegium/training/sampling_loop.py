"""Stages that only sample: batches of items from one or several models, their rows kept in an append-only file.

A step is a batch of one model. It depends on nothing but the model, the job's seed and its own number, so a killed
stage goes on after its last checkpoint and ends with the same rows.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from collegium.component import Use
from collegium.errors import ConfigError
from collegium.judge import RewardJudge
from collegium.kinds.engine import Engine, Generation, SamplingParams
from collegium.task import Completion, Sample, Task
from collegium.training.context import StageContext
from collegium.training.episodes import play, settle
from collegium.training.generation import generate, to_completion
from collegium.training.language_model import LanguageModel
from collegium.training.loop import job_digest
from collegium.training.seeds import derive, seed_everything
from collegium.verdict import Verdict

T = TypeVar("T")
Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Draw(Generic[T]):
    """One step's work.

    Args:
        number: The step, from 1.
        model: What samples; the engine has its weights.
        source: The model as the recipe names it.
        items: What to sample for.
        seed: Every choice of the step follows from it.
    """

    number: int
    model: LanguageModel
    source: str
    items: Sequence[T]
    seed: int


class SamplingLoop(Generic[T]):
    """Run a stage's sampling steps.

    Args:
        context: The stage's context; its counters grow with every completion.
        engine: What samples.
        items: What to sample for, from every model of `generate_from`.
        batch: Items of a step.
    """

    def __init__(self, context: StageContext, engine: Use, items: Sequence[T], batch: int) -> None:
        self.context = context
        self.models = context.job.inputs["generate_from"]
        self.batches = [items[start : start + batch] for start in range(0, len(items), batch)]
        self.total = len(self.models) * len(self.batches)
        self.file = RowsFile(context.directory / "sampled.jsonl")
        self.engine: Engine = context.build(engine, "engine")
        self._job = job_digest(context.job)
        self._loaded: tuple[str, LanguageModel] | None = None

    def run(
        self,
        step: Callable[[Draw[T]], tuple[Sequence[Row], Mapping[str, float]]],
        finish: Callable[[Sequence[Row]], Mapping[str, float]],
    ) -> list[dict[str, Any]]:
        """Do every step that is not done yet, and return all steps' rows in order.

        Args:
            step: Samples for the items; returns rows, plain data, and metrics.
            finish: Takes all rows after the last step, and returns metrics of the whole stage.
        """
        for number in range(self._resume() + 1, self.total + 1):
            started = time.perf_counter()
            rows, metrics = step(self._draw(number))
            self.file.append(number, rows)
            metrics = {**metrics, "time/step": time.perf_counter() - started}
            if number == self.total:
                metrics |= finish(self.file.read())
            self.context.emit(number, self.total, metrics)
            self._save(number)
        return self.file.read()

    def sample(
        self, draw: Draw[T], prompts: Sequence[list[int]], sampling: SamplingParams, part: object = ""
    ) -> list[Completion]:
        """Sample one completion of each prompt, without environments and pictures.

        Args:
            draw: The step's work.
            prompts: Token ids.
            sampling: How to sample.
            part: Tells several calls of one step apart: other parts, other seeds.
        """
        if not prompts:
            return []
        seeds = [derive(draw.seed, part, index) for index in range(len(prompts))]
        made = generate(self.engine, list(prompts), sampling, seeds)
        self._count(made)
        return [to_completion(each, draw.model.tokenizer, draw.model.stop_ids) for each in made]

    def play(
        self, draw: Draw[T], tasks: Sequence[Task], sampling: SamplingParams, size: int
    ) -> tuple[list[Sample], list[Verdict | None]]:
        """Sample `size` completions of each task; where its domain has an environment, episodes.

        Returns:
            The samples, those of a task side by side in one group; and the verdicts that are known without judging:
            those of episodes whose environment failed.
        """
        repeated = [task for task in tasks for _ in range(size)]
        prompts = [ids for task in tasks for ids in [draw.model.prompt_ids(task)] * size]
        seeds = [derive(draw.seed, index) for index in range(len(repeated))]
        hosts = self.context.environments
        played = play(self.engine, draw.model, repeated, prompts, sampling, seeds, hosts)
        made = [each.generation for each in played]
        self._count(made)
        completions = [to_completion(each, draw.model.tokenizer, draw.model.stop_ids) for each in made]
        samples = [
            Sample(task, completion, group=row // size)
            for row, (task, completion) in enumerate(zip(repeated, completions, strict=True))
        ]
        return samples, settle(samples, played, hosts)

    def _count(self, made: Sequence[Generation]) -> None:
        self.context.rollouts += len(made)
        self.context.tokens_generated += sum(each.length for each in made)

    def _draw(self, number: int) -> Draw[T]:
        index, batch = divmod(number - 1, len(self.batches))
        seed = derive(self.context.seed, self.context.job.id, number, "rollouts")
        seed_everything(seed)
        model = self._model(self.models[index].path)
        return Draw(number, model, self.models[index].source, self.batches[batch], seed)

    def _model(self, path: str) -> LanguageModel:
        """Return a model; the one before it is dropped first."""
        if self._loaded is None or self._loaded[0] != path:
            self._loaded = None
            self._loaded = (path, LanguageModel.load(path, self.context.device))
            self.engine.sync(self._loaded[1], 0)
        return self._loaded[1]

    def _resume(self) -> int:
        """Return the last step that is done, after bringing the file and every counter back to it."""
        state = self.context.checkpoints.latest()
        if state and state["job"] != self._job:
            self.context.message("the checkpoint found here is of other options or inputs: the stage starts anew")
            self.context.checkpoints.clear()
            state = None
        done = int(state["step"]) if state else 0
        if self.file.cut(done) != (state["rows"] if state else 0):
            self.context.message("the rows found here are not those of the checkpoint: the stage starts anew")
            self.context.checkpoints.clear()
            state, done = None, 0
            self.file.cut(0)
        self.context.journal.cut(done)
        if state:
            self.context.rollouts, self.context.tokens_generated = state["counters"]
            for name, budget in self.context.budgets.items():
                budget.load_state_dict(state["budgets"][name])
            self.context.message(f"resumes after step {done} of {self.total}")
        return done

    def _save(self, step: int) -> None:
        """Write a checkpoint, where one is due."""
        if step % self.context.job.checkpoint_every and step != self.total:
            return
        state = {
            "step": step,
            "job": self._job,
            "rows": self.file.count(),
            "budgets": {name: budget.state_dict() for name, budget in self.context.budgets.items()},
            "counters": [self.context.rollouts, self.context.tokens_generated],
        }
        self.context.checkpoints.save(step, state)


class RowsFile:
    """The rows of a stage that runs; each line carries its step, so that a resumed stage cuts it back.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, step: int, rows: Sequence[Row]) -> None:
        """Add a step's rows."""
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps({"step": step, "row": dict(row)}) + "\n" for row in rows)

    def cut(self, step: int) -> int:
        """Drop every line of a later step, and one that was not finished; return how many are left."""
        kept = [line for line in self._lines() if (found := _parsed(line)) is not None and found["step"] <= step]
        part = self.path.with_name(self.path.name + ".part")
        part.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        os.replace(part, self.path)
        return len(kept)

    def read(self) -> list[dict[str, Any]]:
        """Return all rows, in order."""
        return [json.loads(line)["row"] for line in self._lines() if line]

    def count(self) -> int:
        """Return how many rows there are."""
        return sum(bool(line) for line in self._lines())

    def _lines(self) -> list[str]:
        return self.path.read_text(encoding="utf-8").split("\n") if self.path.exists() else []


def _parsed(line: str) -> Mapping[str, Any] | None:
    try:
        row: Mapping[str, Any] = json.loads(line)
    except ValueError:  # the stage was killed while it wrote this line
        return None
    return row


def expect_models(context: StageContext, count: int) -> None:
    """Check that `generate_from` gives exactly `count` models.

    Raises:
        ConfigError: If it gives another number.
    """
    sources = [artifact.source for artifact in context.job.inputs["generate_from"]]
    if len(sources) != count:
        raise ConfigError(
            f"stage {context.job.id!r}: generate_from takes {count} model{'s' * (count > 1)}, found "
            f"{', '.join(sources)}",
            fix="name as many, in order",
            owner=context.job.use.rpartition("/")[0],
        )


def judge_rest(judge: RewardJudge, samples: Sequence[Sample], known: Sequence[Verdict | None]) -> list[Verdict]:
    """Return a verdict for each sample: the known one, else the judge's."""
    asked = [sample for sample, verdict in zip(samples, known, strict=True) if verdict is None]
    judged = iter(judge.judge(asked))
    return [next(judged) if verdict is None else verdict for verdict in known]


def refuse_environments(context: StageContext) -> None:
    """Refuse domains with an environment, for stages whose rows hold one turn.

    Raises:
        ConfigError: If there is one.
    """
    if context.environments:
        raise ConfigError(
            f"stage {context.job.id!r} makes rows of one turn, and {', '.join(sorted(context.environments))} has an "
            "environment",
            fix="leave the domain out with domains: [...]",
            owner=context.job.use.rpartition("/")[0],
        )
