"""The samplers `shuffled` and `stratified`."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from collegium.builtin_components.configs import ShuffledConfig, StratifiedConfig
from collegium.errors import ConfigError, DataError
from collegium.kinds.sampler import Sampler
from collegium.task import Task


class ShuffledDeck:
    """Deals a pool's tasks in random order, each once before any comes again; its state is what it has yet to deal."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.left: list[int] = []

    def deal(self, count: int, rng: random.Random) -> list[int]:
        """Return the indices of the next `count` tasks."""
        dealt: list[int] = []
        while len(dealt) < count:
            if not self.left:
                self.left = list(range(self.size))
                rng.shuffle(self.left)
            dealt.append(self.left.pop())
        return dealt


class _DeckSampler(Sampler):
    """Samplers that deal from decks by name."""

    def start(self, pools: Mapping[str, Sequence[Task]]) -> None:
        """Take the pools.

        Raises:
            DataError: If there is none, or one is empty.
        """
        super().start(pools)
        empty = sorted(domain for domain, tasks in pools.items() if not tasks)
        if empty or not pools:
            raise DataError(
                f"no training task in {', '.join(map(repr, empty)) or 'any domain'}",
                fix="check the domain's task source",
            )
        self.decks = {name: ShuffledDeck(size) for name, size in self._deck_sizes().items()}

    def _deck_sizes(self) -> dict[str, int]:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return what each deck has yet to deal."""
        return {name: list(deck.left) for name, deck in self.decks.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the decks."""
        for name, left in state.items():
            self.decks[name].left = list(left)


class ShuffledSampler(_DeckSampler):
    """All domains' tasks as one deck: each task once per epoch, so a larger domain has a larger share."""

    Config = ShuffledConfig

    def _deck_sizes(self) -> dict[str, int]:
        self._all = [task for domain in sorted(self.pools) for task in self.pools[domain]]
        return {"all": len(self._all)}

    def draw(self, count: int, rng: random.Random) -> Sequence[Task]:
        """Return the next `count` tasks of the deck."""
        return [self._all[index] for index in self.decks["all"].deal(count, rng)]


class StratifiedSampler(_DeckSampler):
    """A deck per domain: every domain has its share of each step, whatever its size."""

    Config = StratifiedConfig

    def start(self, pools: Mapping[str, Sequence[Task]]) -> None:
        """Take the pools and their shares.

        Raises:
            ConfigError: If `shares` does not name the stage's domains, or one is not positive.
        """
        shares = self.config.shares or dict.fromkeys(pools, 1.0)
        if set(shares) != set(pools) or min(shares.values(), default=1.0) <= 0:
            raise ConfigError(
                f"sampler shares {shares} must give each of the stage's domains ({', '.join(sorted(pools))}) "
                "a positive share",
                fix="name exactly these domains, or leave shares out for equal ones",
                owner="collegium",
            )
        self._shares = {domain: shares[domain] / sum(shares.values()) for domain in sorted(shares)}
        self._owed = dict.fromkeys(self._shares, 0.0)
        super().start(pools)

    def _deck_sizes(self) -> dict[str, int]:
        return {domain: len(tasks) for domain, tasks in self.pools.items()}

    def draw(self, count: int, rng: random.Random) -> Sequence[Task]:
        """Return `count` tasks, each domain's number being its share; what rounding owes is paid in later draws."""
        tasks = [
            self.pools[domain][index]
            for domain, number in self._numbers(count).items()
            for index in self.decks[domain].deal(number, rng)
        ]
        rng.shuffle(tasks)
        return tasks

    def _numbers(self, count: int) -> dict[str, int]:
        """Split `count` by the shares, largest debt first; debts sum to zero after each draw."""
        for domain, share in self._shares.items():
            self._owed[domain] += share * count
        numbers = {domain: max(0, int(owed // 1)) for domain, owed in self._owed.items()}
        while sum(numbers.values()) > count:
            numbers[max(numbers, key=lambda domain: (numbers[domain] - self._owed[domain], domain))] -= 1
        while sum(numbers.values()) < count:
            numbers[max(numbers, key=lambda domain: (self._owed[domain] - numbers[domain], domain))] += 1
        for domain, number in numbers.items():
            self._owed[domain] -= number
        return numbers

    def state_dict(self) -> dict[str, Any]:
        """Return the decks and the debts."""
        return {"decks": super().state_dict(), "owed": dict(self._owed)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore decks and debts."""
        super().load_state_dict(state["decks"])
        self._owed = {domain: float(owed) for domain, owed in state["owed"].items()}
