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
        example: Options of the component, as YAML, for its card.
        heavy: Whether the module imports torch, so that the config needs a light one and the package the extra `train`.
    """

    component: Kind
    suffix: str
    file: str
    summary: str
    example: str
    heavy: bool = False

    @property
    def hook(self) -> str:
        """Name of the registration hook."""
        return "register_losses" if self.component == "loss" else f"register_{self.component}s"


SPECS: dict[PackageKind, KindSpec] = {
    "verifier": KindSpec(
        "verifier",
        "Verifier",
        "verifier",
        "A number, equal to the reference up to a tolerance.",
        '{answer_after: "Answer:", tolerance: 1.0e-6}',
    ),
    "teacher": KindSpec(
        "task", "Tasks", "tasks", "Conversions between units, with worked answers.", "{train: 2000, heldout: 200}"
    ),
    "router": KindSpec(
        "router",
        "Router",
        "router",
        "The teacher that a table gives for the domain.",
        "{teachers: {math: numbers, code: programs}}",
    ),
    "reward": KindSpec(
        "reward", "Reward", "reward", "The verifier's score, less a price for length.", "{free: 1000, price: 0.1}"
    ),
    "loss": KindSpec(
        "loss",
        "Loss",
        "loss",
        "Policy gradient with a capped weight for the engine's mismatch.",
        "{cap: 2.0}",
        heavy=True,
    ),
    "sampler": KindSpec(
        "sampler", "Sampler", "sampler", "Domains in turn; groups whose rewards differ are kept.", "{spread: 0.05}"
    ),
}
