"""Models that are split over ranks: loaded by the first one alone, equal to whole ones, down to the buffers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from collegium.planning import memory
from collegium.testing.stages import TOY_MODEL, toy_model
from collegium.training import waiting
from collegium.training.initialise import initialise
from collegium.training.language_model import LanguageModel
from collegium.training.model_spec import ModelSpec
from collegium.training.scalar_head import HEAD, ScalarHeadModel

pytestmark = pytest.mark.slow

RANKS = 2
TOKENS = torch.tensor([[2, 3, 4, 5, 6], [7, 8, 9, 2, 3]])
BLOCK = 1000  # that of split_models.py
NAMES = ("model-tied", "model-untied", "model-other", "model-gpt2", "model-experts", "model-low")


def save_experts(folder: Path) -> None:
    """Save a toy DeepSeek-V3: experts whose checkpoint has other names, a persistent buffer, a dense first layer."""
    toy = toy_model(4)
    config = AutoConfig.for_model(
        "deepseek_v3", vocab_size=toy.vocabulary, hidden_size=16, intermediate_size=24, moe_intermediate_size=8,
        num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=2, n_routed_experts=4, n_shared_experts=1,
        num_experts_per_tok=2, n_group=2, topk_group=1, first_k_dense_replace=1, q_lora_rank=8, kv_lora_rank=8,
        qk_rope_head_dim=4, qk_nope_head_dim=4, v_head_dim=8, max_position_embeddings=64, rope_theta=777.0,
        eos_token_id=toy.tokenizer.eos_token_id, pad_token_id=toy.tokenizer.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    for name, buffer in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            buffer.copy_(torch.rand(buffer.shape))
    LanguageModel(model.eval(), toy.tokenizer).save(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with models, and with what the ranks made of them."""
    folder = tmp_path_factory.mktemp("split")
    toy_model(0).save(folder / "model-tied")
    toy_model(1, tie_word_embeddings=False).save(folder / "model-untied")
    toy_model(2).save(folder / "model-other")
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
    initialise(ModelSpec(architecture="gpt2", sizes=sizes, tokenizer=TOY_MODEL["tokenizer"]), 3).save(
        folder / "model-gpt2"
    )
    save_experts(folder / "model-experts")
    low = toy_model(6)
    low.model.to(torch.bfloat16)
    low.save(folder / "model-low")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    script = str(Path(__file__).with_name("split_models.py"))
    processes = [
        subprocess.Popen(
            [sys.executable, script, str(folder), str(RANKS)],
            env={
                **os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(RANKS),
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
            },
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(RANKS)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * RANKS, "\n".join(outputs)[-4000:]
    return folder


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=False) for rank in range(RANKS)]


def assert_whole(found: dict[str, Any], whole: LanguageModel) -> None:
    """Check that a rank's model, put together, is a whole one, to the bit."""
    assert found["split"]
    assert found["meta"] == []
    assert not found["waits"]
    expected = whole.state_dict()
    assert found["weights"].keys() == expected.keys()
    assert all(torch.equal(found["weights"][name], weight) for name, weight in expected.items())
    buffers = dict(whole.model.named_buffers())
    assert found["buffers"].keys() == buffers.keys()
    for name, buffer in buffers.items():
        assert torch.equal(found["buffers"][name], buffer), name
        assert found["buffers"][name].dtype == buffer.dtype
    assert torch.equal(found["head"], whole.head)
    with torch.no_grad():
        torch.testing.assert_close(found["states"], whole.hidden_states(TOKENS, None), atol=1e-6, rtol=1e-6)
    assert found["dtype"] == str(whole.compute_dtype)
    assert found["stop"] == whole.stop_ids


@pytest.mark.parametrize("name", NAMES)
def test_a_split_model_is_the_whole_one_on_every_rank(folder, ranks, name):
    whole = LanguageModel.load(folder / name, dtype="auto")
    count = sum(weight.numel() for weight in whole.parameters())
    for rank in ranks:
        assert_whole(rank[name], whole)
        assert rank[name]["tied"] == (whole.head is whole.model.get_input_embeddings().weight)
        assert rank[name]["before"]["packs"] == whole.can_pack(8)
        assert rank[name]["before"]["vocabulary"] == whole.vocabulary
    assert sum(rank[name]["kept"] for rank in ranks) == count
    share = memory.share(count, RANKS)
    assert share <= max(rank[name]["kept"] for rank in ranks) <= 1.03 * share  # rows are not cut


def test_rotary_frequencies_are_among_what_is_compared(ranks):
    assert any("inv_freq" in name for name in ranks[1]["model-tied"]["buffers"])
    assert any("e_score_correction_bias" in name for name in ranks[1]["model-experts"]["buffers"])
    bias = next(each for name, each in ranks[1]["model-experts"]["buffers"].items() if name.endswith("correction_bias"))
    assert bias.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_the_first_rank_alone_loads_and_no_device_holds_more_than_a_block_of_what_goes_out(ranks, name):
    assert [rank[name]["before"]["has"] for rank in ranks] == [True, False]
    assert BLOCK / 2 < ranks[0][name]["sent"] <= BLOCK
    assert ranks[1][name]["sent"] <= BLOCK / RANKS


def test_the_estimate_counts_the_block_that_goes_out():
    assert memory.LOADING_BLOCK == waiting.BLOCK


def test_a_policy_is_split_for_training_and_saved_as_its_checkpoint_was(folder, ranks):
    whole = LanguageModel.load(folder / "model-experts")
    for rank in ranks:
        assert_whole(rank["trained"], whole)
    assert ranks[0]["trained"]["checkpoint"].keys() == whole.state_dict().keys()
    assert ranks[1]["trained"]["checkpoint"] == {}  # the first rank writes it
    saved = load_file(folder / "saved-experts" / "model.safetensors")
    given = load_file(folder / "model-experts" / "model.safetensors")
    assert saved.keys() == given.keys()
    assert any(name.endswith("experts.3.up_proj.weight") for name in saved)
    assert all(torch.equal(saved[name], weight) for name, weight in given.items())
    configs = [(folder / each / "config.json").read_text() for each in ("saved-experts", "model-experts")]
    assert configs[0] == configs[1]


def test_a_model_from_scratch_has_the_weights_of_its_seed(ranks):
    whole = initialise(ModelSpec(**TOY_MODEL), 5)
    for rank in ranks:
        assert_whole(rank["scratch"], whole)


def test_a_rank_may_use_a_model_that_nothing_splits_alone(folder, ranks):
    whole = LanguageModel.load(folder / "model-tied")
    with torch.no_grad():
        torch.testing.assert_close(ranks[1]["alone"]["states"], whole.hidden_states(TOKENS, None))
    assert all(torch.equal(ranks[1]["alone"]["weights"][name], each) for name, each in whole.state_dict().items())


def test_a_split_reference_takes_the_policys_weights_and_those_of_a_checkpoint(folder, ranks):
    start, other = (LanguageModel.load(folder / name) for name in ("model-tied", "model-other"))
    for rank in ranks:
        assert_whole(rank["refreshed"]["before"], start)
        assert_whole(rank["refreshed"]["after"], other)
        assert_whole(rank["refreshed"]["resumed"], other)


@pytest.mark.parametrize("name", ["model-tied", "model-gpt2"])
@pytest.mark.parametrize("made", ["new", "old"])
def test_a_model_with_a_scalar_head_is_split_head_and_all(folder, ranks, name, made):
    whole = ScalarHeadModel.from_checkpoint(folder / name, head="new", seed=7)
    expected, count = whole.state_dict(), sum(weight.numel() for weight in whole.parameters())
    for rank in ranks:
        found = rank[f"{made}-{name}"]
        assert found["split"]
        assert found["weights"].keys() == expected.keys()
        assert all(torch.equal(found["weights"][key], weight) for key, weight in expected.items())
        assert found["before"]["packs"] == whole.can_pack(8)
        torch.testing.assert_close(found["states"], whole.hidden_states(TOKENS, None), atol=1e-6, rtol=1e-6)
    assert [rank[f"{made}-{name}"]["before"]["has"] for rank in ranks] == [True, False]
    assert max(rank[f"{made}-{name}"]["sent"] for rank in ranks) <= BLOCK
    assert sum(rank[f"{made}-{name}"]["kept"] for rank in ranks) == count
    assert max(rank[f"{made}-{name}"]["kept"] for rank in ranks) < 0.55 * count


@pytest.mark.parametrize("name", ["model-tied", "model-gpt2"])
def test_what_a_split_scalar_head_leaves_is_a_sequence_classification_checkpoint(folder, ranks, name):
    whole = ScalarHeadModel.from_checkpoint(folder / name, head="new", seed=7)
    whole.save(folder / f"whole-{name}")
    for left in ("scalar", "again"):
        assert (folder / f"{left}-{name}" / "config.json").read_text() == (
            folder / f"whole-{name}" / "config.json"
        ).read_text()
        saved, given = (load_file(folder / f"{each}-{name}" / "model.safetensors") for each in (left, "whole"))
        assert saved.keys() == given.keys()
        assert all(torch.equal(saved[key], weight) for key, weight in given.items())
        model = AutoModelForSequenceClassification.from_pretrained(folder / f"{left}-{name}").eval()
        with torch.no_grad():
            states = whole.hidden_states(TOKENS, None)[:, -1]
            torch.testing.assert_close(model(input_ids=TOKENS).logits, states @ given[HEAD].T, atol=1e-5, rtol=1e-5)
