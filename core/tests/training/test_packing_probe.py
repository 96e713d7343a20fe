"""Whether rows may be packed is tried out, not guessed from the configuration."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from collegium.training.language_model import LanguageModel
from collegium.training.packing_probe import keeps_apart

SIZES = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
PACKS = {
    "llama": {**SIZES, "intermediate_size": 64, "num_key_value_heads": 2},
    "qwen3": {**SIZES, "intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 16},
    "gpt2": {"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 2},
    "gpt_neox": {**SIZES, "intermediate_size": 64},
}
DOES_NOT = {
    "mpt": {"vocab_size": 50, "d_model": 32, "n_layers": 2, "n_heads": 2},
    "bloom": {"vocab_size": 50, "hidden_size": 32, "n_layer": 2, "n_head": 2},
    "mamba": {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
}


def probe(architecture: str, sizes: dict[str, int]) -> bool:
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, pad_token_id=0, bos_token_id=1, eos_token_id=2, **sizes)
    model = AutoModelForCausalLM.from_config(config).eval()
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.3)
    return keeps_apart(LanguageModel(model, None).hidden_states, 50, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("architecture", PACKS)
def test_attention_that_takes_our_mask_keeps_sequences_apart(architecture):
    assert probe(architecture, PACKS[architecture])


@pytest.mark.parametrize("architecture", DOES_NOT)
def test_a_memory_or_positions_by_row_index_do_not(architecture):
    assert not probe(architecture, DOES_NOT[architecture])
