"""The language model: its log-probs, its head, its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from collegium import ConfigError, PolicyError
from collegium.kinds.engine import Generation
from collegium.model_files import check_model_folder
from collegium.task import Sample, Task
from collegium.testing.stages import TOY_MODEL, toy_model
from collegium.training.batch import RolloutBatch, collate
from collegium.training.initialise import initialise
from collegium.training.language_model import LanguageModel
from collegium.training.model_spec import ModelSpec


def batch_of(prompts: list[list[int]], completions: list[list[int]]) -> RolloutBatch:
    made = [Generation(tuple(ids), (0.0,) * len(ids), "stop", 0) for ids in completions]
    return collate(prompts, made, [Sample(Task(str(i), "")) for i in range(len(prompts))], [], pad_id=0)


def test_logprobs_are_those_of_the_models_own_logits():
    model = toy_model()
    batch = batch_of([[2, 3, 4], [5]], [[3, 1], [4, 4, 4, 1]])
    logits = model.model(input_ids=batch.token_ids, attention_mask=batch.attention_mask.long()).logits
    expected = torch.zeros(batch.token_ids.shape)
    for row, column in batch.completion_mask.nonzero().tolist():
        target = batch.token_ids[row, column]
        expected[row, column] = logits[row, column - 1].log_softmax(dim=-1)[target]
    assert torch.allclose(model.logprobs(batch), expected, atol=1e-6)


def test_a_saved_model_is_read_back_by_collegium_and_by_transformers(tmp_path: Path):
    model = toy_model()
    model.save(tmp_path)
    check_model_folder(tmp_path)
    batch = batch_of([[2, 3]], [[4, 1]])
    assert torch.equal(LanguageModel.load(tmp_path).logprobs(batch), model.logprobs(batch))
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config.model_type == "llama"


def test_the_generation_configs_stop_tokens_count():
    model = toy_model()
    model.model.generation_config.eos_token_id = [1, 5]
    assert model.stop_ids == {1, 5}


@pytest.mark.parametrize(
    ("missing", "said"),
    [("config.json", "config.json is missing"), ("model.safetensors", "weights"), ("tokenizer.json", "a tokenizer")],
)
def test_a_folder_that_is_no_checkpoint_is_named_with_what_is_missing(tmp_path: Path, missing, said):
    toy_model().save(tmp_path)
    (tmp_path / missing).unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(PolicyError, match=said) as caught:
        check_model_folder(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "save_pretrained" in caught.value.problems[0].fix


def test_a_folder_that_does_not_exist_is_said_so(tmp_path: Path):
    with pytest.raises(PolicyError, match="there is no such folder"):
        LanguageModel.load(tmp_path / "nowhere")


def test_truncated_weights_are_refused(tmp_path: Path):
    toy_model().save(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(PolicyError, match="its header promises"):
        LanguageModel.load(tmp_path)


def test_a_checkpoint_without_a_head_is_refused_instead_of_getting_a_random_one(tmp_path: Path):
    model = toy_model()
    model.save(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    head = [name for name in weights if "final" in name or name.endswith("norm.weight")][-1]
    save_file(
        {name: value for name, value in weights.items() if name != head},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(PolicyError, match=f"no weights for {head}"):
        LanguageModel.load(tmp_path)


def test_an_architecture_that_caps_its_logits_is_refused():
    sizes = {**TOY_MODEL["sizes"], "head_dim": 16, "final_logit_softcapping": 30.0}
    with pytest.raises(PolicyError, match="scaling or capping"):
        initialise(ModelSpec(architecture="gemma2", sizes=sizes, tokenizer=TOY_MODEL["tokenizer"]), 0)


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "mistral"])
def test_the_same_seed_gives_the_same_weights(architecture):
    spec = ModelSpec(**{**TOY_MODEL, "architecture": architecture})
    one, same, other = (initialise(spec, seed).model.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_a_model_with_absolute_positions_works_too():
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
    model = initialise(ModelSpec(architecture="gpt2", sizes=sizes, tokenizer=TOY_MODEL["tokenizer"]), 0)
    assert model.context_length == 64
    assert model.head.shape[1] == 32


def test_an_unknown_size_is_an_error_with_the_nearest_known_one():
    sizes = {**TOY_MODEL["sizes"], "hiden_size": 32}
    with pytest.raises(ConfigError, match=r"hiden_size.*\n.*'hidden_size'"):
        initialise(ModelSpec(**{**TOY_MODEL, "sizes": sizes}), 0)


def test_an_unknown_architecture_is_an_error():
    with pytest.raises(ConfigError, match="'lama' is not a model type"):
        initialise(ModelSpec(**{**TOY_MODEL, "architecture": "lama"}), 0)
