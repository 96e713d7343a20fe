"""Options of the verifier `reward-model` and the reward source `reward-model-score` (light: no torch)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from collegium import Config
from collegium.model_files import check_model_folder


class RewardModelScoreConfig(Config):
    """Options of the reward source `reward-model-score`."""

    path: Path
    """Folder of a sequence classification model with one label, and its tokenizer (`save_pretrained`)."""
    layout: Literal["chat", "prompt-completion"] = "prompt-completion"
    """What the model reads. ``chat``: the whole conversation by the tokenizer's chat template, the completion as the
    assistant's turn. ``prompt-completion``: the prompt as a policy sees it, the completion, end of sequence."""
    max_length: int | None = Field(default=None, ge=1)
    """Most tokens of prompt and completion; None takes the model's own limit. A longer text is never cut."""
    unscorable: Literal["error", "abstain"] = "error"
    """Verdict of a text that is too long, or that holds one of the tokenizer's special tokens as text."""
    micro_batch: int = Field(default=16, ge=1)
    """Sequences scored at once."""
    device: str = "auto"
    """Where the model runs, such as ``cpu`` or ``cuda:1``; ``auto`` takes an accelerator where there is one."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the weights; ``auto`` keeps the checkpoint's."""

    def content_paths(self) -> Sequence[Path]:
        """Return the checkpoint's folder, checked."""
        check_model_folder(self.path)
        return (self.path,)


class RewardModelConfig(RewardModelScoreConfig):
    """Options of the verifier `reward-model`: those of the model, and the map to [0, 1]."""

    shift: float = 0.0
    """Raw reward that becomes 0.5."""
    scale: float = Field(default=1.0, gt=0)
    """Raw reward's distance from `shift` that becomes 0.73: the score is sigmoid((reward - shift) / scale)."""
    pass_at: float | None = Field(default=None, gt=0, lt=1)
    """If given, the score is 1 where that map gives at least this, else 0."""
