"""Models and batches that the tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from collegium.job import StageJob
from collegium.kinds.engine import Generation
from collegium.task import Sample, Task
from collegium.testing.stages import run_toy, toy_domain, toy_job, toy_model, toy_registry
from collegium.training.batch import RolloutBatch, collate
from collegium.training.language_model import LanguageModel
from collegium.training.packing import indices_of_step
from collegium.training.scoring import score
from collegium.training.supervised import supervised_step
from collegium.training.supervised_config import SupervisedConfig
from collegium.training.supervised_data import demonstration_examples
from collegium.training.trainer import Trainer
from collegium.verdict import Abstain, Score

PPO: dict[str, Any] = {
    "steps": 4,
    "prompts": 32,
    "minibatches": 2,
    "lr": 1e-3,
    "value_lr": 3e-3,
    "micro_batch": 64,
    "sampling": {"max_tokens": 6},
}


def make_job(directory: Path, start: Path, *, inputs: dict[str, Path] | None = None, **options: Any) -> StageJob:
    edges: dict[Any, Any] = {"init_from": start, **(inputs or {})}
    return toy_job("collegium-ppo/ppo", {**PPO, **options}, directory, domains=[toy_domain("copy")], inputs=edges)


def read_state(job: StageJob) -> dict[str, Any]:
    """Return the newest checkpoint."""
    newest = max((Path(job.directory) / "checkpoints").iterdir())
    state: dict[str, Any] = torch.load(newest / "state.pt", weights_only=True)
    return state


def alike(one: Any, other: Any) -> bool:
    """Compare nested states bit by bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(value, other[key]) for key, value in one.items())
    return bool(one == other)


def find_problem(job: StageJob) -> str:
    outcome = run_toy(job)
    assert outcome.status == "failed"
    assert outcome.problem is not None
    assert outcome.problem.count("fix:") == 1
    return f"{outcome.kind}: {outcome.problem}"


@pytest.fixture(name="ppo_job")
def _ppo_job() -> Callable[..., StageJob]:
    return make_job


@pytest.fixture(name="state_of")
def _state_of() -> Callable[[StageJob], dict[str, Any]]:
    return read_state


@pytest.fixture(name="same")
def _same() -> Callable[[Any, Any], bool]:
    return alike


@pytest.fixture(name="problem")
def _problem() -> Callable[[StageJob], str]:
    return find_problem


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
