"""What a claim is: variants of a recipe, what is measured of each, and at what budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.recipes.execute import ROOT
from tests.recipes.finished import FinishedRun

Measure = Callable[["VariantRun"], float]
"""A number of one variant of one seed; larger is what the claim says of its first variant."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One side of a comparison.

    Args:
        name: Its name in the table.
        recipe: The recipe's file, from the project's root: the recipe itself, or a patch that `extends` it.
        stages: The stages whose models are measured; several are averaged.
        overrides: ``key=value`` items laid over the recipe.
        budget: The stages that this variant's budget counts; the others are shared, or the same.
    """

    name: str
    recipe: str
    stages: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    budget: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The recipe's file."""
        return ROOT / self.recipe


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of a paper: the first variant measures more than each other one, at an equal budget.

    Args:
        name: Its name on the command line.
        source: Paper, section.
        says: The claim in one sentence.
        variants: The first is the one that the claim favours; it is compared with each other one.
        measures: What is measured, by name; each is a comparison of its own.
        budget: Which count must be equal: `rollouts`, `tokens` (sampled and trained on) or `steps`.
        least: The smallest difference that would matter: the claim does not hold where any such is ruled out.
    """

    name: str
    source: str
    says: str
    variants: tuple[Variant, ...]
    measures: dict[str, Measure]
    budget: str = "steps"
    least: float = 0.02


@dataclass(frozen=True, slots=True)
class VariantRun:
    """A variant's finished run of one seed.

    Args:
        variant: The variant.
        directory: Its run directory.
        run: What the directory holds.
    """

    variant: Variant
    directory: Path
    run: FinishedRun
