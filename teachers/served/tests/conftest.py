"""A tiny teacher in a folder, a real server of it, and rollouts to score."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from collegium.task import Sample, Task
from collegium.testing.stages import toy_model
from collegium.testing.toy_domain import ALPHABET
from collegium.training.batch import RolloutBatch
from collegium.training.language_model import LanguageModel
from collegium_teacher_served.teacher import ServedTeacher

QUICK = {"backoff_s": 0.001, "breaker": {"failures": 3, "cool_down_s": 0.01, "cool_downs": 2}}
"""Waits too short to notice."""


@pytest.fixture(scope="session")
def servers() -> ModuleType:
    """Return the module of the server, which is imported by path."""
    name = "collegium_teacher_served_tests_server"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("model_server.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny teacher, sharpened so that its log-probs differ widely."""
    folder = tmp_path_factory.mktemp("teacher")
    model = toy_model(seed=3, tie_word_embeddings=False)
    with torch.no_grad():
        model.head.mul_(20)
    model.save(folder)
    return folder


@pytest.fixture
def server(servers: ModuleType, checkpoint: Path) -> Iterator[Any]:
    """Serve the teacher."""
    with servers.serving(LanguageModel.load(checkpoint)) as running:
        yield running


@pytest.fixture
def teacher(server: Any, checkpoint: Path) -> Iterator[Callable[..., ServedTeacher]]:
    """Return a function that makes a teacher of the server, with further options."""
    made: list[ServedTeacher] = []

    def make(**options: Any) -> ServedTeacher:
        base = {"url": server.url, "model": "teacher", "tokenizer": str(checkpoint), **QUICK}
        made.append(ServedTeacher({**base, **options}))
        return made[-1]

    yield make
    for each in made:
        each.close()


def rollouts(rows: list[tuple[list[int], list[int]]]) -> RolloutBatch:
    """Return a batch of (prompt, completion) pairs, right-padded."""
    width = max(len(prompt) + len(completion) for prompt, completion in rows)
    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    attention = torch.zeros(len(rows), width, dtype=torch.bool)
    trained = torch.zeros(len(rows), width, dtype=torch.bool)
    for row, (prompt, completion) in enumerate(rows):
        end = len(prompt) + len(completion)
        tokens[row, :end] = torch.tensor([*prompt, *completion])
        attention[row, :end] = True
        trained[row, len(prompt) : end] = True
    count = len(rows)
    return RolloutBatch(
        token_ids=tokens,
        attention_mask=attention,
        completion_mask=trained,
        samples=[Sample(Task(id=str(row), prompt="", domain="copy"), group=row) for row in range(count)],
        verdicts=[],
        rewards=torch.full((count,), float("nan")),
        groups=torch.arange(count),
        truncated=torch.zeros(count, dtype=torch.bool),
        weight_versions=torch.zeros(count, dtype=torch.long),
    )


@pytest.fixture
def make_batch() -> Callable[[list[tuple[list[int], list[int]]]], RolloutBatch]:
    """Return the function that makes a batch."""
    return rollouts


@pytest.fixture
def batch() -> RolloutBatch:
    """Return ten rows of different lengths, the last two of which are the same."""
    generator = torch.Generator().manual_seed(5)

    def draw(count: int) -> list[int]:
        return torch.randint(2, 2 + len(ALPHABET), (count,), generator=generator).tolist()

    rows = [(draw(1 + row % 4), draw(1 + (3 * row) % 7)) for row in range(9)]
    return rollouts([*rows, rows[-1]])
