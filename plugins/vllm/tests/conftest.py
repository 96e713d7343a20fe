"""A tiny model, and a server that really serves it: HTTP, weights, log-probs, without vLLM."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from collegium.testing.stages import toy_model
from collegium.training.language_model import LanguageModel

SIZES = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
"""Heads of width 32, the narrowest that vLLM knows on a CPU."""


@pytest.fixture(scope="session")
def tiny() -> Callable[..., LanguageModel]:
    """Return a function that makes a model with its head tied or not, whose log-probs differ widely between tokens."""

    def make(seed: int = 0, *, tied: bool = True, **sizes: Any) -> LanguageModel:
        model = toy_model(seed, **{**SIZES, "tie_word_embeddings": tied, **sizes})
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(4 if weight.ndim > 1 else 1)
        return model

    return make


@pytest.fixture(scope="session")
def servers() -> ModuleType:
    """Return the module of the server, which is imported by path."""
    name = "collegium_vllm_tests_server"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("tiny_server.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def server(servers: ModuleType, tiny: Callable[..., LanguageModel]) -> Iterator[Any]:
    """Serve a model with weights of its own."""
    with servers.serving(tiny(seed=99)) as running:
        yield running
