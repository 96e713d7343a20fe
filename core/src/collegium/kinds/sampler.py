"""Samplers: which tasks a step trains on, and which groups are kept."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from collegium.component import Configurable
from collegium.task import Task


class Sampler(Configurable):
    """Choose the prompts of a step. Subclass and write `draw`.

    A sampler that keeps state returns it from `state_dict`, so that a resumed stage draws what it would have drawn.
    """

    def start(self, pools: Mapping[str, Sequence[Task]]) -> None:
        """Take the training tasks of each domain; called once before the first `draw`."""
        self.pools = {domain: list(tasks) for domain, tasks in pools.items()}

    def draw(self, count: int, rng: random.Random) -> Sequence[Task]:
        """Return `count` tasks; every choice comes from `rng`, which is seeded by stage and step."""
        raise NotImplementedError

    def keep(self, rewards: Sequence[float]) -> bool:
        """Say whether a group of samples of one prompt, with these rewards, is worth training on. Default: always."""
        return True

    def state_dict(self) -> dict[str, Any]:
        """State to save with a checkpoint; JSON-serialisable."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
