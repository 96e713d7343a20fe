"""The scripted endpoint, and judges that ask it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from collegium_verifier_judge.verifier import JudgeVerifier

HERE = Path(__file__).parent
RUBRIC = "Mention: alpha beta gamma delta"


def load(path: Path) -> ModuleType:
    """Import a file that belongs to no package."""
    name = f"collegium_judge_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def scripted() -> ModuleType:
    return load(HERE / "scripted_endpoint.py")


@pytest.fixture(scope="session")
def measure() -> ModuleType:
    return load(HERE.parent / "measure.py")


@pytest.fixture
def endpoint(scripted: ModuleType) -> Iterator[Any]:
    with scripted.serving() as server:
        yield server


@pytest.fixture
def judge_of(endpoint: Any) -> Iterator[Callable[..., JudgeVerifier]]:
    """Return a function that builds a judge which asks the endpoint, with options."""
    built: list[JudgeVerifier] = []

    def build(**options: Any) -> JudgeVerifier:
        defaults = {"endpoint": endpoint.url, "model": "rule", "backoff_s": 0.001}
        if "rubric_file" not in options:
            defaults["rubric"] = RUBRIC
        built.append(JudgeVerifier({**defaults, **options}))
        return built[-1]

    yield build
    for judge in built:
        judge.close()
