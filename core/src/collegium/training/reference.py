"""The KL reference: a frozen model, optionally replaced by the policy every so many steps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch

from collegium.training.language_model import LanguageModel


class Reference:
    """A frozen model, loaded when first asked for, that follows the policy at intervals.

    Args:
        path: The model to start with.
        policy: What it is refreshed from.
        refresh_every: Steps between refreshes; 0 never refreshes.
    """

    def __init__(self, path: str, policy: LanguageModel, refresh_every: int = 0) -> None:
        self.path = path
        self.policy = policy
        self._device = policy.device  # where the policy's weights wait in main memory later, it computes here
        self.refresh_every = refresh_every
        self._refreshed = False

    @cached_property
    def model(self) -> LanguageModel:
        """The model that scores; split over the ranks where the policy is, so every rank has to ask for it."""
        model = LanguageModel.load(self.path, self._device).split()
        model.model.requires_grad_(requires_grad=False)
        return model

    @torch.no_grad()
    def before_step(self, step: int) -> None:
        """Take the policy's weights if `refresh_every` steps (counted from 1) have passed since the last time."""
        if self.refresh_every and step > 1 and (step - 1) % self.refresh_every == 0:
            self.model.take(self.policy.named_weights())
            self._refreshed = True

    def state_dict(self) -> dict[str, Any]:
        """Return the weights if they are no longer those it started with."""
        return {"model": self.model.state_dict(everywhere=False)} if self._refreshed else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        if state:
            self.model.take(state["model"].items())
            self._refreshed = True
