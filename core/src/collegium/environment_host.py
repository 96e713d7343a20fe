"""Environments as the core calls them: within a time limit, their replies checked, their failures charged to them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias, TypeVar

from collegium.guarded import Guarded
from collegium.job import ErrorPolicy
from collegium.kinds.environment import Environment, EnvironmentConfig, Episode
from collegium.task import Task
from collegium.time_limit import CallFailed, TimeLimitExceeded
from collegium.verdict import Abstain, Error, Score, Verdict

logger = logging.getLogger(__name__)

LONGEST_REPLY = 100_000
"""Characters of a reply; a longer one is an error of the environment's."""
T = TypeVar("T")
Answer: TypeAlias = str | Error | None
"""A reply, what went wrong, or None: the episode is over."""


class EnvironmentHost(Guarded):
    """One domain's environment as the core calls it.

    Args:
        environment: The component.
        owner: Its distribution, charged with every error.
        name: Its short name.
        policy: What errors may cost.
        domain: The domain that it serves.
    """

    def __init__(self, environment: Environment, *, owner: str, name: str, policy: ErrorPolicy, domain: str) -> None:
        super().__init__(owner=owner, name=name, policy=policy, domain=domain)
        self.environment = environment

    @property
    def config(self) -> EnvironmentConfig:
        """The environment's options."""
        config: EnvironmentConfig = self.environment.config
        return config

    def open(self, tasks: Sequence[Task]) -> list[Episode | Error]:
        """Begin an episode of each task."""
        return self._each(self._open, tasks)

    def reply(self, turns: Sequence[tuple[Episode, str]]) -> list[Answer]:
        """Return what the environment says to each episode's turn."""
        return self._each(lambda turn: self._reply(*turn), turns)

    def close(self, episodes: Sequence[Episode]) -> None:
        """Close episodes; one that cannot close has said all it had to say, so that is only logged."""
        self._each(self._close, episodes)

    def record(self, problems: Sequence[Error | None]) -> None:
        """Count finished episodes, failed ones as errors.

        Raises:
            VerifierError: If the error budget is spent and the policy says ``stop``.
        """
        if not self.quarantined:
            self.budget.record([Score(1.0) if problem is None else problem for problem in problems])

    def verdict(self, problem: Error) -> Verdict:
        """Return the verdict on a failed episode: its error, or none at all once the domain is quarantined."""
        return Abstain(f"quarantined: {self.budget.quarantine}") if self.quarantined else problem

    def _each(self, function: Callable[..., T], items: Sequence[object]) -> list[T]:
        """Call a function on each item, as many at once as the environment allows."""
        workers = min(self.environment.at_once, len(items))
        if workers <= 1:
            return [function(item) for item in items]
        with ThreadPoolExecutor(workers, thread_name_prefix="collegium-environment") as pool:
            return list(pool.map(function, items))

    def _open(self, task: Task) -> Episode | Error:
        found = self._call(lambda: self.environment.open(task))
        if isinstance(found, (Episode, Error)):
            return found
        return self._error(f"open returned a {type(found).__name__}, expected an Episode")

    def _reply(self, episode: Episode, text: str) -> Answer:
        found = self._call(lambda: episode.reply(text))
        if found is not None and not isinstance(found, (str, Error)):
            return self._error(f"reply returned a {type(found).__name__}, expected text or None")
        if isinstance(found, str) and len(found) > LONGEST_REPLY:
            return self._error(f"a reply of {len(found)} characters, at most {LONGEST_REPLY} are allowed")
        return found

    def _close(self, episode: Episode) -> None:
        found = self._call(episode.close)
        if isinstance(found, Error):
            logger.warning("an episode of %s/%s could not close: %s", self.owner, self.name, found.reason)

    def _call(self, function: Callable[[], object]) -> object:
        try:
            found = self._limited(self.environment.timeout_s, function)
        except (CallFailed, TimeLimitExceeded) as failed:
            return self._error(str(failed))
        return self._error(found.reason) if isinstance(found, Error) else found
