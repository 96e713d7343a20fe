"""Options of the preference losses (light: no torch)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from collegium import Config


class PreferenceLossConfig(Config):
    """What the losses share."""

    needs_reference: ClassVar[bool] = True
    """Whether the loss reads the reference's log-probs."""

    nll: float = Field(default=0.0, ge=0)
    """Weight of the chosen completion's mean negative log-prob, added to the loss. Llama 3: 0.2."""
    mask_formatting: bool = False
    """Leave the tokenizer's special tokens, end of sequence among them, out of the preference term (Llama 3)."""
    formatting_tokens: list[str] = []
    """Further tokens of the vocabulary to leave out of it, such as those of a header."""


class DpoLoss(PreferenceLossConfig):
    """DPO (arXiv 2305.18290); length-normalised in Tulu 3 and OLMo 3."""

    use: Literal["dpo"] = "dpo"
    """The loss."""
    beta: float = Field(default=0.1, gt=0)
    """How hard the policy is held to the reference. Llama 3: 0.1; length-normalised, Tulu 3 and OLMo 3: 5."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of the pairs that are taken to be the wrong way round (conservative DPO)."""
    length_normalise: bool = False
    """Compare means over tokens, not sums."""


class IpoLoss(PreferenceLossConfig):
    """IPO (arXiv 2310.12036, equation 17): the margin is drawn to a finite target."""

    use: Literal["ipo"] = "ipo"
    """The loss."""
    beta: float = Field(default=0.1, gt=0)
    """The paper's tau: the margin's target is ``1 / (2 beta)``."""
    length_normalise: bool = True
    """Compare means over tokens, so that the target means the same at every length."""


class KtoLoss(PreferenceLossConfig):
    """KTO (arXiv 2402.01306): each completion against the policy's mean change, not against its partner."""

    use: Literal["kto"] = "kto"
    """The loss."""
    beta: float = Field(default=0.1, gt=0)
    """How hard the policy is held to the reference."""
    desirable: float = Field(default=1.0, ge=0)
    """Weight of the chosen completions."""
    undesirable: float = Field(default=1.0, ge=0)
    """Weight of the rejected completions."""


class OrpoLoss(PreferenceLossConfig):
    """ORPO (arXiv 2403.07691): supervised fine-tuning with an odds-ratio term, without a reference."""

    needs_reference: ClassVar[bool] = False

    use: Literal["orpo"] = "orpo"
    """The loss."""
    nll: float = Field(default=1.0, ge=0)
    """Weight of the chosen completion's mean negative log-prob. The paper: 1."""
    beta: float = Field(default=0.1, gt=0)
    """The paper's lambda: weight of the odds-ratio term."""


class SimpoLoss(PreferenceLossConfig):
    """SimPO (arXiv 2405.14734): mean log-probs compared with a target margin, without a reference."""

    needs_reference: ClassVar[bool] = False

    use: Literal["simpo"] = "simpo"
    """The loss."""
    beta: float = Field(default=2.0, gt=0)
    """Scale of the mean log-probs."""
    gamma: float = Field(default=1.0, ge=0)
    """The margin, in scaled log-probs, that a pair is pushed beyond."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of the pairs that are taken to be the wrong way round."""


def _from_short_form(value: Any) -> Any:
    """Read ``loss: ipo`` as ``loss: {use: ipo}``, and options without `use` as DPO's."""
    if isinstance(value, str):
        return {"use": value}
    if isinstance(value, Mapping):
        return {"use": "dpo", **value}
    return value


PreferenceLoss: TypeAlias = Annotated[
    Annotated[DpoLoss | IpoLoss | KtoLoss | OrpoLoss | SimpoLoss, Field(discriminator="use")],
    BeforeValidator(_from_short_form),
]
"""One of the losses: its name, or ``{use: NAME, option: value, ...}``."""
