"""Options of the stage (light: no torch)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from collegium.kinds.stage import Artifact, Edge, StageConfig
from collegium_teacher_assistant.rankings import Made


class PreferenceDataConfig(StageConfig):
    """Options of the stage `preference-data`."""

    requires: ClassVar[frozenset[Edge]] = frozenset()
    produces: ClassVar[Artifact] = "data"

    order: list[str] = Field(
        default=["right", "polite", "curt", "plain", "impolite", "slight harm", "needless refusal", "harm",
                 "severe harm", "no-carry", "misplaced", "reversed", "form-forgotten"],
        min_length=2,
    )  # fmt: skip
    """Qualities of demonstrations, best first; demonstrations of others are left out."""
    worse: list[Made] = []
    """What to add below a prompt's demonstrations, in this order: ``cut``, the first half of the worst; ``unrelated``,
    the best answer to another prompt. InstructGPT ranked 4 to 9 completions of a prompt."""
    form: Literal["rankings", "pairs"] = "rankings"
    """A row for each prompt, or one for each of its pairs, which may then each have a rating."""
    ratings: dict[str, Literal["significantly", "better", "slightly", "negligibly"]] = {}
    """By how much a completion of this quality (``cut`` and ``unrelated`` as well) is worse than what it is compared
    with, in Llama 2's words; those not named have no rating."""
    most: int | None = Field(default=None, ge=2)
    """Use at most this many prompts, chosen by the seed; None uses all."""

    @model_validator(mode="after")
    def _rated_in_full(self) -> PreferenceDataConfig:
        if repeated := {each for each in self.order if self.order.count(each) > 1}:
            raise ValueError(f"order names {', '.join(sorted(repeated))} twice")
        if unknown := set(self.ratings) - set(self.order) - set(self.worse):
            raise ValueError(f"ratings names {', '.join(sorted(unknown))}, which neither order nor worse has")
        return self

    def judges(self) -> bool:
        """Demonstrations are ranked by the quality that their source states: no verifier is asked."""
        return False
