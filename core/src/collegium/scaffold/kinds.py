"""The kinds of package that can be written, and what differs between them besides their templates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from collegium.component import Kind

PackageKind: TypeAlias = Literal["verifier", "teacher", "router", "reward", "loss", "sampler"]


@dataclass(frozen=True, slots=True)
class KindSpec:
    """One kind of package.

    Args:
        component: Kind of the component it offers.
        suffix: Last part of the component's class name.
        file: The component's module.
        summary: One line about the component as it is written.
        heavy: Whether the module imports torch, so that the config needs a light one and the package the extra `train`.
    """

    component: Kind
    suffix: str
    file: str
    summary: str
    heavy: bool = False

    @property
    def hook(self) -> str:
        """Name of the registration hook."""
        return "register_losses" if self.component == "loss" else f"register_{self.component}s"


SPECS: dict[PackageKind, KindSpec] = {
    "verifier": KindSpec("verifier", "Verifier", "verifier", "A number, equal to the reference up to a tolerance."),
    "teacher": KindSpec("task", "Tasks", "tasks", "Conversions between units, with worked answers."),
    "router": KindSpec("router", "Router", "router", "The teacher that a table gives for the domain."),
    "reward": KindSpec("reward", "Reward", "reward", "The verifier's score, less a price for length."),
    "loss": KindSpec(
        "loss", "Loss", "loss", "Policy gradient with a capped weight for the engine's mismatch.", heavy=True
    ),
    "sampler": KindSpec("sampler", "Sampler", "sampler", "Domains in turn; groups whose rewards differ are kept."),
}
