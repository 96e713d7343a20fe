"""The value model on other architectures: what `transformers` reads of a reward model is the value."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from collegium.errors import PolicyError
from collegium.kinds.engine import Generation
from collegium.task import Sample, Task
from collegium.testing.stages import TOY_MODEL
from collegium.training.batch import collate
from collegium.training.initialise import initialise
from collegium.training.language_model import LanguageModel
from collegium.training.model_spec import ModelSpec
from collegium_ppo.value_model import ValueModel, score_values


def language_model(architecture: str) -> LanguageModel:
    small = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
    sizes = small if architecture == "gpt2" else TOY_MODEL["sizes"]
    return initialise(ModelSpec(architecture=architecture, sizes=sizes, tokenizer=TOY_MODEL["tokenizer"]), 0)


def classifier(base: LanguageModel, path: Path, labels: int) -> None:
    base.model.config.num_labels = labels
    base.model.config.pad_token_id = 0
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(base.model.config).save_pretrained(path)
    base.tokenizer.save_pretrained(path)


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "mistral", "gpt2"])
def test_the_values_are_what_the_reward_model_says_of_each_prefix(tmp_path, architecture):
    base = language_model(architecture)
    classifier(base, tmp_path / "rm", labels=1)
    prompts = [base.tokenizer.encode(text) for text in ("#abc=", "#abc=", "#abc=", "~f=")]
    answers = [base.tokenizer.encode(text) for text in ("abc", "cbaf", "a", "ff")]
    made = [Generation(tuple(ids), (0.0,) * len(ids), "length", 0) for ids in answers]
    samples = [Sample(Task(str(row), str(row)), group=min(1, row // 3)) for row in range(4)]
    batch = collate(prompts, made, samples, [], pad_id=0)
    found = score_values(ValueModel.from_reward_model(str(tmp_path / "rm"), "cpu"), batch, micro_batch=3)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm").eval()
    for row, mask in enumerate(batch.completion_mask):
        for token in mask.nonzero()[:, 0].tolist():
            with torch.no_grad():
                expected = theirs(input_ids=batch.token_ids[row : row + 1, :token]).logits.item()
            assert found[row, token].item() == pytest.approx(expected, abs=1e-5)


def test_a_classifier_of_several_labels_is_no_value_function(tmp_path):
    classifier(language_model("llama"), tmp_path / "three", labels=3)
    with pytest.raises(PolicyError, match="the value function cannot start from"):
        ValueModel.from_reward_model(str(tmp_path / "three"), "cpu")
