"""Weights for rollouts that run ahead of training: taken when a step ends, given to the engine when it may change."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from collegium.kinds.engine import Engine
from collegium.training.language_model import LanguageModel


class WeightFeed:
    """Carry the policy's weights from the thread that trains to the one that samples.

    What training changes is never sampled from: an engine without weights of its own gets a copy of the policy. In
    main memory there is a copy of each version that was offered and not taken yet.

    Args:
        engine: Its `weights` say what is needed.
        policy: What is trained.
    """

    def __init__(self, engine: Engine, policy: LanguageModel) -> None:
        self.engine = engine
        self.policy = policy
        self._offered: dict[int, dict[str, Tensor]] = {}
        self._guard = threading.Lock()
        self._copy: LanguageModel | None = None
        if engine.weights != "in-flight":
            self._copy = policy.replica()
            if engine.weights == "copied":
                self._copy.to("cpu")

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
        self.engine.sync(self._copy, version)
