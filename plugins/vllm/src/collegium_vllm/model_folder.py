"""The folder from which vLLM starts: a model's configuration and tokenizer. Weights follow through `sync`."""

from __future__ import annotations

import copy
from pathlib import Path

from collegium.training.language_model import LanguageModel


def write_model_folder(policy: LanguageModel, folder: Path) -> None:
    """Write what vLLM needs to build the model without its weights."""
    config = copy.deepcopy(policy.model.config)
    config.architectures = [type(policy.model).__name__]
    config.save_pretrained(str(folder))
    policy.tokenizer.save_pretrained(str(folder))
