"""Weights for rollouts that run ahead of training: taken when a step ends, given to the engine when it may change."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from collegium.kinds.engine import Engine
from collegium.training.language_model import LanguageModel


class WeightFeed:
    """Carry the policy's weights from the thread that trains to the one that samples.

    What training changes is never sampled from: the engine gets a copy of the policy, on the policy's device, unless it
    takes weights in flight. In main memory there is a copy of each version that was offered and not taken yet.

    Args:
        engine: Takes the weights.
        policy: What is trained.
    """

    def __init__(self, engine: Engine, policy: LanguageModel) -> None:
        self.engine = engine
        self.policy = policy
        self._offered: dict[int, dict[str, Tensor]] = {}
        self._guard = threading.Lock()
        self._copy = None if engine.in_flight else policy.replica()

    def offer(self, version: int) -> None:
        """Take the policy's weights of this moment; called by the thread that trains, on every rank."""
        if self._copy is None:
            self.engine.sync(self.policy, version)
            return
        weights = self.policy.state_dict()
        with self._guard:
            self._offered[version] = weights

    @torch.no_grad()
    def take(self, version: int) -> None:
        """Give the engine a version that was offered; called by the thread that samples."""
        if self._copy is None:
            return  # it has this one or a later one
        with self._guard:
            weights = self._offered.pop(version)
        self._copy.model.load_state_dict(weights)
        self._copy.compute_dtype = self.policy.compute_dtype
        self.engine.sync(self._copy, version)
