"""Sizes of models, found without loading them."""

from __future__ import annotations

import json

import pytest

from collegium.planning.shapes import Unknown, shape_of_config, shape_of_folder, vocabulary_of
from collegium.recipe.shape import ModelShape
from collegium.training.model_spec import TokenizerSpec

SMALL = ModelShape(layers=2, hidden=8, heads=2, kv_heads=1, head_dim=4, intermediate=16, vocabulary=10, tied=True)
"""A layer: 2*8*(8+4) attention, 3*8*16 MLP, 2*8 norms = 592; all: 2*592 + 10*8 + 8 = 1272."""
QWEN = dict(
    layers=28, hidden=2048, heads=16, kv_heads=8, head_dim=128, intermediate=6144, vocabulary=151936, qk_norm=True
)
BILLION = ModelShape(layers=10, hidden=1000, heads=10, intermediate=4000, vocabulary=1000, parameters=7_500_000_000)
"""The model of ZeRO's figure 1."""


def test_the_weights_of_a_small_model_by_hand():
    assert SMALL.layer_parameters == 592
    assert SMALL.count == 1272
    assert SMALL.model_copy(update={"tied": False}).count == 1272 + 80


def test_the_weights_of_a_published_model_are_those_of_its_card():
    assert ModelShape(**QWEN, tied=True).count == 1_720_574_976
    assert ModelShape(**QWEN, tied=False).count == 2_031_739_904


def test_experts_count_all_and_a_token_meets_some():
    moe = SMALL.model_copy(update={"experts": 4})
    assert moe.layer_parameters == 592 + 3 * (3 * 8 * 16) + 4 * 8
    assert moe.active_intermediate is None
    met = moe.count - moe.layers * 2 * (3 * 8 * 16)  # two of four
    assert moe.model_copy(update={"active_parameters": met}).active_intermediate == 2 * 16


def test_a_given_number_of_weights_goes_over_the_counted_one():
    assert BILLION.count == 7_500_000_000
    assert BILLION.layer_parameters == (7_500_000_000 - 2 * 1_000_000 - 1000) // 10


def test_a_mixture_of_experts_is_read_from_its_configuration():
    config = {
        "model_type": "qwen3_moe", "num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "head_dim": 4,
        "num_key_value_heads": 1, "intermediate_size": 99, "moe_intermediate_size": 16, "num_experts": 4,
        "num_experts_per_tok": 2, "vocab_size": 10, "tie_word_embeddings": True,
    }  # fmt: skip
    shape = shape_of_config(config, "config.json", parameters=4000)
    assert isinstance(shape, ModelShape)
    assert (shape.experts, shape.intermediate, shape.count) == (4, 16, 4000)
    assert shape.active_parameters == 4000 - 2 * 2 * 3 * 8 * 16


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "llama", "hidden_size": 8}, "does not say num_hidden_layers, num_attention_heads"),
        ({"model_type": "nova", "num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 9}, "'nova' are not counted"),
        ({"model_type": "llama", "num_hidden_layers": 0, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 9}, "greater than or equal to 1"),
    ],
)  # fmt: skip
def test_what_a_configuration_leaves_out_is_said(config, words):
    found = shape_of_config(config, "model.sizes")
    assert isinstance(found, Unknown)
    assert words in found.reason


def test_a_folder_without_a_configuration_is_unknown(tmp_path):
    found = shape_of_folder(tmp_path)
    assert isinstance(found, Unknown)
    assert "config.json" in found.reason


@pytest.mark.parametrize("vocab", [{"a": 0, "b": 1}, [["a", 0.0], ["b", -1.0]]])
def test_a_vocabulary_is_counted_without_the_tokenizers_library(tmp_path, vocab):
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps({"model": {"vocab": vocab}, "added_tokens": [{"content": "<pad>"}]}))
    assert vocabulary_of(TokenizerSpec(path=str(file))) == 4  # a, b, <pad>, and <eos> that the spec adds
    assert vocabulary_of(TokenizerSpec(path=str(tmp_path))) == 3
    file.write_text("{}")
    assert isinstance(vocabulary_of(TokenizerSpec(path=str(file))), Unknown)
    assert vocabulary_of(TokenizerSpec(characters="abc")) == 5
    assert isinstance(vocabulary_of(TokenizerSpec(path="acme/tokenizer")), Unknown)
