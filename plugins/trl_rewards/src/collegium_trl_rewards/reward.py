"""The reward source `trl-function`.

Source: TRL's GRPOTrainer: the arguments of custom reward functions, and the sum over them
(``multi_objective_aggregation="sum_then_normalize"``). Differences: a reward that is NaN or infinite is an error, not
"not applicable"; sums are in double precision; `trainer_state` is None.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from collegium import Abstain, Error, RewardContext, RewardSource, Sample, Score, Verdict
from collegium_trl_rewards.batch import arguments_of
from collegium_trl_rewards.config import TrlFunctionConfig
from collegium_trl_rewards.event_loop import EventLoopThread
from collegium_trl_rewards.function import Reward, RewardFunction

logger = logging.getLogger(__name__)


class TrlFunctionReward(RewardSource):
    """Sum the weighted rewards of functions in TRL's signature.

    A function that returns None for a sample does not count for it, and the others' weights stay as they are; a sample
    for which all return None is `Abstain`. One for which a function fails is an `Error` that names the function.
    """

    Config = TrlFunctionConfig

    def __init__(self, config: TrlFunctionConfig | Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self._functions: list[RewardFunction] = []
        self._loop: EventLoopThread | None = None

    def prepare(self, context: RewardContext) -> None:
        """Import the functions.

        Raises:
            ConfigError: If one is not there or is no reward function.
        """
        self._load()

    def score(self, batch: Sequence[Sample]) -> Sequence[Verdict]:
        """Call every function once with the whole batch, the async ones together."""
        self._load()
        arguments = arguments_of(batch, self.config.columns, self.config.format)
        extra: dict[str, list[Any]] = {}
        arguments_of_each = [
            {
                **copy.deepcopy(arguments),  # a function that changes its arguments changes no other's, and no task
                "trainer_state": None,
                "log_extra": extra.__setitem__,
                "log_metric": _log_metric,
            }
            for _ in self._functions
        ]
        by_function = self._call_all(arguments_of_each, len(batch))
        details = _details(extra, len(batch))
        return [self._verdict([rewards[row] for rewards in by_function], details[row]) for row in range(len(batch))]

    def close(self) -> None:
        """End the event loop."""
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def _load(self) -> None:
        if not self._functions:
            self._functions = [RewardFunction(each) for each in self.config.functions]

    def _call_all(self, arguments: Sequence[dict[str, Any]], count: int) -> list[list[Reward]]:
        """Return each function's rewards, in the recipe's order."""
        pairs = list(zip(self._functions, arguments, strict=True))
        waiting = [(function, given) for function, given in pairs if function.is_async]
        awaited = iter(self._await_all(waiting, count))
        return [next(awaited) if function.is_async else _call(function, given, count) for function, given in pairs]

    def _await_all(self, pairs: Sequence[tuple[RewardFunction, dict[str, Any]]], count: int) -> list[list[Reward]]:
        if not pairs:
            return []
        self._loop = self._loop or EventLoopThread()
        return self._loop.run(_gather(pairs, count))

    def _verdict(self, rewards: Sequence[Reward], extra: Mapping[str, Any]) -> Verdict:
        """Return the weighted sum over the functions that judged the sample."""
        failed = next((reward for reward in rewards if isinstance(reward, Error)), None)
        if failed is not None:
            return failed
        named = {function.name: reward for function, reward in zip(self._functions, rewards, strict=True)}
        terms = [
            function.weight * reward
            for function, reward in zip(self._functions, rewards, strict=True)
            if reward is not None and not isinstance(reward, Error)
        ]
        if not terms:
            return Abstain(f"not applicable, say {', '.join(named)}")
        return Score(sum(terms), {"rewards": named, **extra})


def _call(function: RewardFunction, arguments: dict[str, Any], count: int) -> list[Reward]:
    try:
        return function.rewards(function.call(**arguments), count)
    except Exception as error:  # whatever a function raises is its own fault, and stops no other
        return function.failed(error, count)


async def _gather(pairs: Sequence[tuple[RewardFunction, dict[str, Any]]], count: int) -> list[list[Reward]]:
    return await asyncio.gather(*(_call_async(function, given, count) for function, given in pairs))


async def _call_async(function: RewardFunction, arguments: dict[str, Any], count: int) -> list[Reward]:
    try:
        return function.rewards(await function.call(**arguments), count)
    except Exception as error:  # as in `_call`
        return function.failed(error, count)


def _details(extra: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Return what the functions logged of each sample; a column of the wrong length is left out, with a warning."""
    for name, values in extra.items():
        if len(values) != count:
            logger.warning("a reward function logged %d values of %r for %d samples", len(values), name, count)
    kept = {name: values for name, values in extra.items() if len(values) == count}
    return [{name: values[row] for name, values in kept.items()} for row in range(count)]


def _log_metric(name: str, value: float) -> None:
    logger.info("reward metric %s: %s", name, value)
