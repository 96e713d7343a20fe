"""Rollouts: prompts to generations to verdicts to a `RolloutBatch`, with refill of groups that the sampler drops."""

from __future__ import annotations

import math
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from collegium.errors import ConfigError, PluginError
from collegium.judge import RewardJudge
from collegium.kinds.engine import Engine, Generation
from collegium.kinds.sampler import Sampler
from collegium.task import Completion, Sample, Task
from collegium.training.batch import RolloutBatch, collate, rewards_of
from collegium.training.context import StageContext
from collegium.training.distributed import world
from collegium.training.episodes import Played, play, settle
from collegium.training.generation import generate as generate
from collegium.training.generation import to_completion as to_completion
from collegium.training.language_model import LanguageModel
from collegium.training.rollout_config import RolloutConfig
from collegium.training.seeds import derive
from collegium.training.tokenizers import padding
from collegium.verdict import Abstain, Error, Verdict


@dataclass(frozen=True, slots=True)
class Group:
    """The rollouts of one prompt; `kept` says whether they are trained on, but for the `failed` rows.

    A row has failed if the environment did: its completion is not the policy's own doing.
    """

    prompt: list[int]
    generations: list[Generation]
    samples: list[Sample]
    verdicts: list[Verdict]
    kept: bool
    failed: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Rollouts:
    """All that was drawn for one step, and its metrics."""

    step: int
    groups: list[Group]
    metrics: dict[str, float]


class RolloutCollector:
    """Collect one step's rollouts: `draw` them, `report` them, and lay them out as a `batch`.

    Args:
        context: The stage's context; its counters grow with every generation.
        policy: The model that samples.
        config: Prompts, group, sampling, engine and refills.
        sampler: Draws prompts and says which groups are kept.
        reward: Scores the samples; None for stages without rewards.
    """

    def __init__(
        self,
        context: StageContext,
        policy: LanguageModel,
        config: RolloutConfig,
        *,
        sampler: Sampler,
        reward: RewardJudge | None,
    ) -> None:
        self.context = context
        self.policy = policy
        self.config = config
        self.engine: Engine = context.build(config.engine, "engine")
        check_records(self.engine, config)
        self.sampler = sampler
        self.reward = reward
        self.tasks = context.tasks("train")
        self.hosts = context.environments
        self._seconds: dict[str, float] = {}
        self._episodes: list[Played] = []
        sampler.start(self.tasks)

    def collect(self, step: int) -> tuple[RolloutBatch | None, dict[str, float]]:
        """Sample and judge the step's rollouts with the policy's weights of this moment.

        Returns:
            The batch, or None if nothing is left to train on; and metrics.

        Raises:
            EngineError: If the engine returns something malformed.
            VerifierError: If a verifier or the reward source spends its error budget.
            ConfigError: If rollouts shall run ahead of training, which takes a `RolloutPipeline`.
        """
        if self.config.staleness:
            raise ConfigError(
                f"stage {self.context.job.id!r} has staleness {self.config.staleness} and makes its rollouts in turn "
                "with training",
                fix="set staleness: 0",
                owner=self.context.job.use.rpartition("/")[0],
            )
        self.engine.sync(self.policy, step - 1)
        rollouts = self.draw(step)
        self.report(rollouts)
        batch, stale = self.batch(rollouts)
        return batch, {**rollouts.metrics, **stale}

    def draw(self, step: int) -> Rollouts:
        """Sample and judge the step's rollouts with the weights that the engine has."""
        self._seconds = {"time/generate": 0.0, "time/judge": 0.0}
        self._episodes = []
        drawn: list[Group] = []
        for attempt in range(1 + self.config.max_refills):
            wanted = self.config.prompts - sum(each.kept for each in drawn)
            if wanted <= 0:
                break
            drawn += self._groups(wanted, step, attempt, first=len(drawn))
        return Rollouts(step, drawn, self._metrics(drawn))

    def report(self, rollouts: Rollouts) -> None:
        """Write some of the samples down and hand all of them to the plugins' hooks."""
        samples = [sample for each in rollouts.groups for sample in each.samples]
        verdicts = [verdict for each in rollouts.groups for verdict in each.verdicts]
        self.context.write_samples(rollouts.step, samples, verdicts)

    def batch(self, rollouts: Rollouts) -> tuple[RolloutBatch | None, dict[str, float]]:
        """Return the rows to train on: those of kept groups whose weights are no older than `staleness` allows.

        Returns:
            The batch, or None if no row is left; and metrics about the rows' age, where there is anything to say.
        """
        kept = [each for each in rollouts.groups if each.kept]
        if not kept:
            return None, {}
        batch = self._collate(kept)
        played = [row not in each.failed for each in kept for row in range(len(each.samples))]
        if not all(played):
            batch = batch.select([row for row, whole in enumerate(played) if whole])
            if not len(batch):
                return None, {}
        lags = (rollouts.step - 1 - batch.weight_versions).tolist()
        fresh = [row for row, lag in enumerate(lags) if lag <= self.config.staleness]
        dropped = len(batch) - len(fresh)
        metrics = {"stale/dropped": float(dropped), "stale/lag": mean(lags[row] for row in fresh)}
        if dropped:
            batch = batch.select(fresh)
        return (batch if fresh else None), (metrics if dropped or self.config.staleness else {})

    def _groups(self, count: int, step: int, attempt: int, first: int) -> list[Group]:
        seed = derive(self.context.seed, self.context.job.id, step, "rollouts", attempt)
        tasks = self.sampler.draw(count, random.Random(seed))
        if len(tasks) != count:
            raise PluginError(f"sampler {type(self.sampler).__name__} drew {len(tasks)} tasks when asked for {count}")
        size = self.config.group
        prompts = [self.policy.prompt_ids(task) for task in tasks]
        played = self._play(
            [task for task in tasks for _ in range(size)], [prompt for prompt in prompts for _ in range(size)], seed
        )
        samples = [
            Sample(tasks[index // size], self.completion(each.generation), group=first + index // size)
            for index, each in enumerate(played)
        ]
        verdicts = self._judge(samples, played)
        slices = [slice(index * size, (index + 1) * size) for index in range(count)]
        return [
            Group(
                prompt,
                [each.generation for each in played[rows]],
                samples[rows],
                verdicts[rows],
                self._keeps(verdicts[rows]),
                frozenset(row for row, each in enumerate(played[rows]) if each.problem is not None),
            )
            for prompt, rows in zip(prompts, slices, strict=True)
        ]

    def _play(self, tasks: list[Task], prompts: list[list[int]], seed: int) -> list[Played]:
        """Sample a completion of each task, each rank its share; where a domain has an environment, an episode."""
        started = time.perf_counter()
        here = world()
        own = here.block(len(prompts))
        made = play(
            self.engine,
            self.policy,
            [tasks[index] for index in own],
            [prompts[index] for index in own],
            self.config.sampling,
            [derive(seed, index) for index in own],
            self.hosts,
        )
        played = here.gather(made)
        self._seconds["time/generate"] += time.perf_counter() - started
        self.context.rollouts += len(played)
        self.context.tokens_generated += sum(each.generation.length for each in played)
        self._episodes += [each for task, each in zip(tasks, played, strict=True) if task.domain in self.hosts]
        return played

    def completion(self, made: Generation) -> Completion:
        """Decode a generation."""
        return to_completion(made, self.policy.tokenizer, self.policy.stop_ids)

    def _judge(self, samples: list[Sample], played: list[Played]) -> list[Verdict]:
        """Judge the samples; those whose environment failed have their verdict already."""
        known = settle(samples, played, self.hosts)
        if self.reward is None:
            return []
        started = time.perf_counter()
        # One rank judges: error budgets and caches are of the stage, not of a rank.
        here = world()
        asked = [sample for sample, verdict in zip(samples, known, strict=True) if verdict is None]
        judged = iter(here.from_main(self.reward.judge(asked) if here.is_main else []))
        verdicts = [next(judged) if verdict is None else verdict for verdict in known]
        self._seconds["time/judge"] += time.perf_counter() - started
        return verdicts

    def _keeps(self, verdicts: Sequence[Verdict]) -> bool:
        """Ask the sampler about a group's scores; a group that has none is not a matter for it."""
        scores = [value for value in rewards_of(verdicts) if not math.isnan(value)]
        return not scores or self.sampler.keep(scores)

    def _collate(self, groups: list[Group]) -> RolloutBatch:
        return collate(
            [each.prompt for each in groups for _ in each.samples],
            [made for each in groups for made in each.generations],
            [sample for each in groups for sample in each.samples],
            [verdict for each in groups for verdict in each.verdicts],
            padding(self.policy.tokenizer),
            self.config.sampling,
        )

    def _metrics(self, drawn: list[Group]) -> dict[str, float]:
        generations = [made for each in drawn for made in each.generations]
        tokens = sum(made.length for made in generations)
        verdicts = [verdict for each in drawn for verdict in each.verdicts]
        metrics = {
            "rollouts": float(len(generations)),
            "groups/drawn": float(len(drawn)),
            "groups/kept": float(sum(each.kept for each in drawn)),
            "length": tokens / len(generations),
            "truncated": mean(made.finish_reason == "length" for made in generations),
            "time/tokens_per_second": tokens / max(self._seconds["time/generate"], 1e-9),
            **self._seconds,
        }
        if self._episodes:
            metrics["episodes/turns"] = mean(each.turns for each in self._episodes)
            metrics["episodes/failed"] = mean(each.problem is not None for each in self._episodes)
        if self.reward is not None:
            metrics["verdicts/abstain"] = mean(isinstance(verdict, Abstain) for verdict in verdicts)
            metrics["verdicts/error"] = mean(isinstance(verdict, Error) for verdict in verdicts)
            metrics |= reward_metrics([sample for each in drawn for sample in each.samples], verdicts)
        return metrics


def check_records(engine: Engine, config: RolloutConfig) -> None:
    """Refuse an engine that does not record what the stage replays.

    Raises:
        ConfigError: If `sampling.keep_mask` meets an engine without `records_kept`.
    """
    if config.sampling.keep_mask and not engine.records_kept:
        raise ConfigError(
            f"sampling has keep_mask, and the engine {config.engine.use} does not record the ids that top_p keeps",
            fix="use engine: transformers, or sample with top_p: 1 and without keep_mask",
            owner=config.engine.use.rpartition("/")[0],
        )


def reward_metrics(samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Return the mean reward, over all samples that have one and per domain."""
    by_domain: defaultdict[str, list[float]] = defaultdict(list)
    for sample, value in zip(samples, rewards_of(verdicts), strict=True):
        if not math.isnan(value):
            by_domain[sample.domain].append(value)
    every = [value for values in by_domain.values() for value in values]
    return {
        **({"reward": mean(every)} if every else {}),
        **{f"reward/{domain}": mean(values) for domain, values in sorted(by_domain.items())},
    }


def mean(values: Iterable[float]) -> float:
    """Return the mean, or NaN of nothing (which no journal shows)."""
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else math.nan
