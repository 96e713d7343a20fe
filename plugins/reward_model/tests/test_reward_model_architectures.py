"""Other architectures and tokenizers: `transformers` reads the same number from the checkpoint that we leave."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase

from collegium.errors import PolicyError
from collegium.testing.stages import TOY_MODEL
from collegium.training.initialise import initialise
from collegium.training.language_model import LanguageModel
from collegium.training.model_spec import ModelSpec
from collegium_reward_model.model import RewardModel

SIZES = {**TOY_MODEL["sizes"]}
TEXTS = [("#abc=", "abc"), ("#fedcba=", "a"), ("~a=", ""), ("#ff=", "ffff")]


def language_model(architecture: str) -> LanguageModel:
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64} if architecture == "gpt2" else SIZES
    return initialise(ModelSpec(architecture=architecture, sizes=sizes, tokenizer=TOY_MODEL["tokenizer"]), 0)


def read_by_transformers(path: Path, ids: list[list[int]], tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    model = AutoModelForSequenceClassification.from_pretrained(path).eval()
    batch = tokenizer.pad({"input_ids": ids}, return_tensors="pt", padding_side="right")
    with torch.no_grad():
        return model(**batch).logits[:, 0]


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "mistral", "gpt2"])
@pytest.mark.parametrize("shared", [False, True], ids=["own padding", "end of sequence is padding"])
def test_the_number_is_the_same(tmp_path, architecture, shared):
    base = language_model(architecture)
    if shared:
        base.tokenizer.pad_token = base.tokenizer.eos_token
    base.save(tmp_path / "base")
    RewardModel.start(str(tmp_path / "base"), "cpu", 0).save(tmp_path / "rm")
    model = RewardModel.load(tmp_path / "rm")
    ids = [model.encode(prompt, text, "t") for prompt, text in TEXTS]
    ends = {each[-1] == model.tokenizer.eos_token_id for each in ids}
    assert ends == {not shared}
    expected = read_by_transformers(tmp_path / "rm", ids, model.tokenizer)
    torch.testing.assert_close(model.score(ids, 8), expected, atol=1e-5, rtol=1e-5)


def test_a_classifier_of_several_labels_is_no_reward_model(tmp_path):
    base = language_model("llama")
    base.save(tmp_path / "base")
    base.model.config.num_labels = 3
    AutoModelForSequenceClassification.from_config(base.model.config).save_pretrained(tmp_path / "three")
    base.tokenizer.save_pretrained(tmp_path / "three")
    with pytest.raises(PolicyError, match="no checkpoint with a trained scalar head"):
        RewardModel.load(tmp_path / "three")


def test_a_folder_that_is_cut_is_refused(tmp_path):
    language_model("llama").save(tmp_path / "base")
    RewardModel.start(str(tmp_path / "base"), "cpu", 0).save(tmp_path / "rm")
    weights = tmp_path / "rm" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(PolicyError, match=r"model\.safetensors"):
        RewardModel.load(tmp_path / "rm")
