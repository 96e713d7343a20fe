"""Recomputed and compiled decoder layers, in one process: the same numbers, more or other work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from collegium.errors import PolicyError
from collegium.launch_config import LaunchConfig
from collegium.testing.stages import toy_model
from collegium.training.distributed import World
from collegium.training.language_model import LanguageModel
from collegium.training.layers import compile_layers, decoder_layers, recompute_layers
from collegium.training.optimizer_config import OptimizerConfig
from collegium.training.packing import Example
from collegium.training.strategy import make_strategy
from collegium.training.supervised import trained_logprobs

LENGTHS = [[(7, 5), (4,)], [(3, 3, 2), (11,)], [(9,), (6, 6)]]
"""Batches of packed rows, by the lengths of each row's examples."""


def rows_of(batch: list[tuple[int, ...]]) -> list[list[Example]]:
    return [
        [Example(tuple(3 + (index * 3 + length) % 7 for index in range(length)), 1, "example") for length in row]
        for row in batch
    ]


def passes(policy: LanguageModel) -> tuple[list[float], dict[str, Tensor]]:
    """Run every batch forward and backward; return the losses and the gradients' sums."""
    losses = []
    for batch in LENGTHS:
        loss = -trained_logprobs(policy, rows_of(batch)).mean()
        loss.backward()
        losses.append(loss.item())
    return losses, {name: weight.grad for name, weight in policy.model.named_parameters()}


def calls_of(policy: LanguageModel) -> list[int]:
    """Count a linear layer's calls from now on."""
    counted = [0]
    layer = next(module for module in decoder_layers(policy.model)[0].modules() if isinstance(module, nn.Linear))
    layer.register_forward_hook(lambda *_: counted.__setitem__(0, counted[0] + 1))
    return counted


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_recomputed_layers_run_twice_with_the_same_losses_and_gradients(training):
    plain, recomputed = toy_model(0), toy_model(0)
    recompute_layers(recomputed.model)
    for policy in (plain, recomputed):
        policy.model.train(training)
    once, twice = calls_of(plain), calls_of(recomputed)
    losses, gradients = passes(plain)
    again, same = passes(recomputed)
    assert again == losses
    assert all(torch.equal(gradient, same[name]) for name, gradient in gradients.items())
    assert once == [len(LENGTHS)]
    assert twice == [2 * len(LENGTHS)]


def test_recomputed_layers_run_once_where_there_is_no_gradient():
    policy = toy_model(0)
    recompute_layers(policy.model)
    counted = calls_of(policy)
    with torch.no_grad():
        trained_logprobs(policy, rows_of(LENGTHS[0]))
    assert counted == [1]


def test_recomputing_leaves_the_mode_that_the_stage_chose():
    policy = toy_model(0)
    world = World(launch=LaunchConfig(gradient_checkpointing=True))
    make_strategy(policy, OptimizerConfig(), world)
    assert not policy.model.training


def test_a_model_without_a_list_of_layers_is_refused():
    with pytest.raises(PolicyError, match="Linear has no list of decoder layers"):
        decoder_layers(nn.Linear(2, 2))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of the compiler's own code
def test_compiled_layers_give_the_same_numbers_for_rows_of_any_length():
    plain, compiled = toy_model(0), toy_model(0)
    compile_layers(compiled.model)
    recompute_layers(compiled.model)
    losses, gradients = passes(plain)
    torch._dynamo.reset()
    counters: dict[str, Any] = torch._dynamo.utils.counters
    again, same = passes(compiled)
    assert counters["stats"]["unique_graphs"] >= 1
    assert counters["stats"]["unique_graphs"] <= 4  # not one for each length
    assert again == pytest.approx(losses, abs=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(same[name], gradient, atol=1e-5, rtol=1e-4)
