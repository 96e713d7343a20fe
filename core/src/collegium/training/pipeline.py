"""The rollout pipeline: batches of rollouts, made in turn with training or, with `staleness`, ahead of it in a thread.

The batch of step ``s`` is sampled with the weights after step ``max(0, s - 1 - staleness)``, however fast the one or
the other is, so the same seed gives the same numbers. What waits for training is plain data in the checkpoint.

The loss corrects for the age in two factors (decoupled PPO; AReaL, arXiv 2505.24298): `behaviour` are the log-probs
that the engine recorded, `old` those of the weights at the start of the batch's update.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from collegium.errors import ConfigError
from collegium.kinds.adaptive import Adaptive
from collegium.kinds.loss import Loss
from collegium.training.batch import RolloutBatch
from collegium.training.distributed import within, world
from collegium.training.rollout_state import encode, restore
from collegium.training.rollouts import RolloutCollector, Rollouts
from collegium.training.scoring import Scorer
from collegium.training.weight_feed import WeightFeed

logger = logging.getLogger(__name__)

JOIN_S = 60.0
"""Seconds that a stage which ends early waits for the call that its rollout thread is in."""


@dataclass(frozen=True, slots=True)
class _Made:
    """A step's rollouts, ready to be trained on."""

    rollouts: Rollouts
    batch: RolloutBatch | None
    metrics: dict[str, float]


class RolloutPipeline:
    """Hand each step its batch. A context manager: leaving it ends the thread.

    Args:
        collector: Makes the rollouts.
        scorer: Its teachers score them, and it compares engine and trainer.
        loss: Where rollouts are stale, it has to correct for that.

    Raises:
        ConfigError: If rollouts would be stale, and the loss takes them for the policy's own or the reward adapts.
    """

    def __init__(self, collector: RolloutCollector, scorer: Scorer, loss: Loss) -> None:
        check_ahead(collector, loss)
        self.collector = collector
        self.scorer = scorer
        self._ahead = _Ahead(collector, scorer) if collector.config.staleness else None

    def __enter__(self) -> RolloutPipeline:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ahead is not None:
            self._ahead.stop()

    def collect(self, step: int) -> tuple[RolloutBatch | None, dict[str, float]]:
        """Return the step's batch, or None if nothing is left to train on; and metrics.

        Raises:
            CollegiumError: What went wrong while the batch was made, as it was raised.
        """
        if self._ahead is None:
            return self.collector.collect(step)
        started = time.perf_counter()
        made = self._ahead.take(step)
        waited = time.perf_counter() - started
        self.collector.report(made.rollouts)
        return made.batch, {**made.rollouts.metrics, **made.metrics, "time/wait": waited}

    @property
    def states(self) -> dict[str, Any]:
        """What a checkpoint has to hold, by name, in this order: the rollouts' state is that of a thread at rest."""
        ahead = {} if self._ahead is None else {"rollouts": self._ahead}
        return {**ahead, "sampler": self.collector.sampler}


class _Ahead:
    """The thread that makes rollouts, and what the training thread asks of it."""

    def __init__(self, collector: RolloutCollector, scorer: Scorer) -> None:
        self.collector = collector
        self.scorer = scorer
        self.lag = collector.config.staleness
        self.total = collector.config.steps
        self.weights = WeightFeed(collector.engine, collector.policy)
        self.ranks = world().apart()
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._waiting: list[Mapping[str, Any]] = []
        self._restored: list[Rollouts] = []
        self._made: dict[int, _Made] = {}
        self._next = 1
        self._version = -1
        self._error: BaseException | None = None
        self._stopped = False

    # What the training thread calls

    def take(self, step: int) -> _Made:
        """Publish the weights after the step before, and return the step's rollouts once they are made."""
        self._publish(step - 1)
        if not self.scorer.shook_hands:
            self._shake_hands(step - 1)
        self._wait_for(step)
        with self._changed:
            return self._made.pop(step)

    def stop(self) -> None:
        """End the thread; a call that it is in is waited for, but not for ever."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(JOIN_S)
            if self._thread.is_alive():
                logger.warning("the rollout thread is still in a call after %g s and is left behind", JOIN_S)

    def state_dict(self) -> dict[str, Any]:
        """Return the rollouts that wait for training, once all are made that earlier weights have to sample."""
        self._wait_for(min(self.total, self._version + 1 + self.lag))
        return {"waiting": [encode(made.rollouts, self.collector.tasks) for _, made in sorted(self._made.items())]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Keep what `state_dict` gave for the first step, which says what it has to be; teachers are asked again."""
        self._waiting = list(state["waiting"])

    def _publish(self, version: int) -> None:
        """Let the thread sample with the weights of this moment."""
        wanted = version == 0 or version + 1 + self.lag <= self.total
        if wanted:
            self.weights.offer(version)
        if self._thread is None:
            self._start(version, wanted)
        with self._changed:
            self._version = version
            self._changed.notify_all()

    def _start(self, version: int, wanted: bool) -> None:
        """Start the thread; the engine starts in this one, where it may also set signal handlers."""
        self._next = version + 1
        if version:
            self._restored, self._waiting = restore(self._waiting, self.collector, version), []
        if wanted:
            self.weights.take(version)
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # the thread has a stream of its own
        self._thread = threading.Thread(target=self._run, args=(version,), name="collegium-rollouts", daemon=True)
        self._thread.start()

    def _shake_hands(self, version: int) -> None:
        """Compare engine and trainer on the first rollouts that have the trainer's weights of this moment."""
        first = 1 if version == 0 else version + 1 + self.lag
        for step in range(first, min(self.total, version + 1 + self.lag) + 1):
            self._wait_for(step)
            batch = self._made[step].batch
            if batch is not None:
                self.scorer.shake_hands(batch)
                return

    def _wait_for(self, step: int) -> None:
        """Wait until a step's rollouts are made; what ended the thread before that is raised here."""
        with self._changed:
            self._changed.wait_for(lambda: self._next > step or self._error is not None)
            if self._next <= step and self._error is not None:
                raise self._error

    # What the thread does

    def _run(self, version: int) -> None:
        try:
            with self._set_up(), within(self.ranks):
                self._make_all(version)
        except BaseException as error:  # a plugin's sys.exit too: the training thread raises it
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _make_all(self, version: int) -> None:
        for rollouts in self._restored:
            self._finish(rollouts)
        for step in range(self._next, self.total + 1):
            wanted = max(0, step - 1 - self.lag)
            if not self._may_sample(wanted):
                return
            if wanted > version:
                self.weights.take(wanted)
            self._finish(self.collector.draw(step))

    def _may_sample(self, version: int) -> bool:
        """Wait for weights; tell whether to go on."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._version >= version)
            return not self._stopped

    def _finish(self, rollouts: Rollouts) -> None:
        """Lay the rollouts out, let the teachers score them, and hand them over."""
        if self._stopped:
            return
        batch, stale = self.collector.batch(rollouts)
        scored = {} if batch is None else self.scorer.ask_teachers(batch)
        with self._changed:
            self._made[rollouts.step] = _Made(rollouts, batch, {**stale, **scored})
            self._next = rollouts.step + 1
            self._changed.notify_all()

    @contextmanager
    def _set_up(self) -> Iterator[None]:
        """Set what torch keeps per thread; on a GPU, work beside training and not behind it."""
        torch.set_num_threads(self.collector.context.job.threads)
        if self.collector.policy.device.type != "cuda":
            yield
            return
        torch.cuda.set_device(self.collector.policy.device)
        with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]  # torch
            yield


def check_ahead(collector: RolloutCollector, loss: Loss) -> None:
    """Refuse what would be wrong with stale rollouts.

    Raises:
        ConfigError: If the loss does not correct for the rollouts' age (`Loss.corrects_age`), or the reward source
            adapts from step to step: it would judge rollouts of a step that has not come.
    """
    staleness = collector.config.staleness
    if not staleness:
        return
    if not loss.corrects_age:
        raise ConfigError(
            f"staleness {staleness} lets older weights sample, and the loss {type(loss).__name__} has no importance "
            "correction: its gradient would be that of another policy",
            fix="set the loss's correction, such as loss: {use: clipped, importance: tis}, or staleness: 0",
            owner="collegium",
        )
    source = None if collector.reward is None else collector.reward.source
    if source is not None and type(source).after_step is not Adaptive.after_step:
        raise ConfigError(
            f"staleness {staleness} judges rollouts before their step, and the reward {type(source).__name__} changes "
            "from step to step",
            fix="use a reward that does not, or staleness: 0",
            owner="collegium",
        )
