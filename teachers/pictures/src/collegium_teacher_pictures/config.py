"""Options of the task source `pictures` (light: no Pillow)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from collegium import Config

Kind = Literal["count", "locate", "read"]

KINDS: tuple[Kind, ...] = ("count", "locate", "read")


class PicturesConfig(Config):
    """Options of the task source `pictures`."""

    kinds: tuple[Kind, ...] = KINDS
    """What is asked: ``count`` (how many circles), ``locate`` (which corner has the square), ``read`` (which digit)."""
    seed: int = 0
    """Seed of the drawings and of the demonstrations' quality."""
    train: int = Field(default=3000, ge=1, le=100_000)
    """Training drawings, spread evenly over the kinds."""
    heldout: int = Field(default=240, ge=1, le=10_000)
    """Held-out drawings, likewise; none has an arrangement of shapes that a training drawing has."""
    right_share: float = Field(default=0.35, ge=0, le=1)
    """Share of right answers among demonstrations and captions, in [0, 1]; the others make one mistake throughout."""
    most: int = Field(default=5, ge=2, le=9)
    """Most circles to count."""
    placeholder: str = Field(default="<image>", min_length=1)
    """What stands in a prompt for its picture: the policy's placeholder."""

    @field_validator("kinds")
    @classmethod
    def _once_each(cls, kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
        if not kinds or len(set(kinds)) != len(kinds):
            raise ValueError(f"kinds must name each kind once, and at least one of {', '.join(KINDS)}")
        return kinds
