"""The trainer's weights under the names, and in the shapes, of checkpoints, which are what vLLM reads."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from torch import Tensor
from transformers.core_model_loading import revert_weight_conversion

from collegium.training.language_model import LanguageModel
from collegium_vllm.fingerprint import group_of


def checkpoint_weights(policy: LanguageModel) -> Iterator[tuple[str, Tensor]]:
    """Yield the policy's weights layer by layer; experts, which `transformers` holds fused, one by one."""
    for _, layer in groupby(policy.named_weights(), key=lambda named: group_of(named[0])):
        yield from revert_weight_conversion(policy.model, dict(layer)).items()
