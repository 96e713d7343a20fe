"""Which domains a supervised stage reads."""

from __future__ import annotations

from collections.abc import Collection

from collegium import RecipeError


def chosen_domains(asked: list[str] | None, offered: Collection[str], stage: str) -> list[str]:
    """Return the domains to read, by name.

    Raises:
        RecipeError: If one is asked for that the stage does not have.
    """
    unknown = sorted(set(asked or ()) - set(offered))
    if unknown:
        raise RecipeError(
            f"stage {stage!r}: domains names {', '.join(map(repr, unknown))}, which it does not have; it has "
            f"{', '.join(sorted(offered)) or 'none'}",
            fix="name domains of the recipe",
        )
    return sorted(offered if asked is None else asked)
