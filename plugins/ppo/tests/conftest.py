"""Models and batches that the tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from collegium.kinds.engine import Generation
from collegium.task import Sample, Task
from collegium.testing.stages import toy_domain, toy_model, toy_registry
from collegium.training.batch import RolloutBatch, collate
from collegium.training.language_model import LanguageModel
from collegium.training.packing import indices_of_step
from collegium.training.scoring import score
from collegium.training.supervised import supervised_step
from collegium.training.supervised_config import SupervisedConfig
from collegium.training.supervised_data import demonstration_examples
from collegium.training.trainer import Trainer
from collegium.verdict import Abstain, Score


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that copies in half of the cases and reverses in the others."""
    model = toy_model()
    domain = toy_domain("copy", right=0.5)
    source = toy_registry().build("task", domain.task.use, domain.task.options)
    examples = demonstration_examples(model.tokenizer, source.demonstrations())
    config = SupervisedConfig(lr=5e-3, batch=64, row_tokens=48)
    trainer = Trainer(model, config, 150)
    for step in range(1, 151):
        supervised_step(trainer, [examples[i] for i in indices_of_step(step, 64, len(examples), seed=0)], config)
    path = tmp_path_factory.mktemp("start")
    model.save(path)
    return path


@pytest.fixture(scope="session")
def reward_model(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model as `transformers` writes it; its head is random."""
    model = AutoModelForSequenceClassification.from_pretrained(start, num_labels=1, pad_token_id=0)
    with torch.no_grad():
        model.score.weight.copy_(torch.randn(model.score.weight.shape, generator=torch.Generator().manual_seed(3)))
    path = tmp_path_factory.mktemp("reward_model")
    model.save_pretrained(path)
    LanguageModel.load(start).tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def policy(start: Path) -> LanguageModel:
    """The start, loaded."""
    return LanguageModel.load(start)


@pytest.fixture
def batch(policy: LanguageModel) -> RolloutBatch:
    """Six completions of three prompts, of which the third has no verdict and the fourth is cut at the limit."""
    answers = ["abc", "cba", "fed", "def", "aab", "ba"]
    tokens = [policy.tokenizer.encode(text) + ([] if text == "def" else [1]) for text in answers]
    prompts = ["#abc=", "#abc=", "#def=", "#def=", "#aab=", "#aab="]
    samples = [Sample(Task(text, text), group=index // 2) for index, text in enumerate(prompts)]
    made = [Generation(tuple(ids), (0.0,) * len(ids), "stop" if ids[-1] == 1 else "length", 0) for ids in tokens]
    scores = [Score(1.0), Score(0.0), Abstain("dull"), Score(1.0), Score(1.0), Score(0.25)]
    rows = collate([policy.tokenizer.encode(text) for text in prompts], made, samples, scores, pad_id=0)
    rows.behaviour = score(policy, rows, 8)
    return rows
