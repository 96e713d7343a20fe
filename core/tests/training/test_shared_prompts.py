"""Prompts run once: the same states and gradients as sequence by sequence."""

from __future__ import annotations

import pytest
import torch

from collegium import Generation, Sample, Task
from collegium.testing.stages import TOY_MODEL, toy_model
from collegium.training.batch import RolloutBatch, collate
from collegium.training.initialise import initialise
from collegium.training.language_model import LanguageModel
from collegium.training.model_spec import ModelSpec
from collegium.training.shared_prompts import share_prompts

PROMPTS = [[2, 3, 4], [5], [2, 3, 4], [2, 3, 4], [6, 6], [5]]
COMPLETIONS = [[7, 1], [8, 8, 8, 1], [7, 7, 7, 7, 1], [1], [9, 1], [8, 1]]


def batch_of(prompts: list[list[int]]) -> RolloutBatch:
    made = [Generation(tuple(ids), (0.0,) * len(ids), "stop", 0) for ids in COMPLETIONS[: len(prompts)]]
    return collate(prompts, made, [Sample(Task(str(i), "")) for i in range(len(prompts))], [], pad_id=0)


def one_by_one(model: LanguageModel, batch: RolloutBatch) -> torch.Tensor:
    return torch.cat([model.completion_logprobs(batch.select([row])) for row in range(len(batch))])


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt2"])
def test_logprobs_and_gradients_are_those_of_the_sequences_alone(architecture):
    sizes = TOY_MODEL["sizes"]
    if architecture == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
    model = initialise(ModelSpec(architecture=architecture, sizes=sizes, tokenizer=TOY_MODEL["tokenizer"]), 0)
    batch, results = batch_of(PROMPTS), []
    for run in (model.completion_logprobs, lambda each: one_by_one(model, each)):
        model.model.zero_grad()
        logprobs = run(batch)
        (logprobs * torch.linspace(-1, 1, len(logprobs))).sum().backward()
        gradient = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
        results.append((logprobs.detach(), gradient))
    assert torch.allclose(results[0][0], results[1][0], atol=1e-5)
    assert torch.allclose(results[0][1], results[1][1], atol=1e-5)


def test_each_prompt_is_there_once_and_its_completions_go_on_from_it():
    shared = share_prompts(batch_of(PROMPTS), model_width=32)
    assert shared is not None
    assert shared.token_ids[0].tolist() == [2, 3, 4, 7, 1, 7, 7, 7, 7, 1, 1]
    assert shared.position_ids[0].tolist() == [0, 1, 2, 3, 4, 3, 4, 5, 6, 7, 3]
    assert shared.segments[0].tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 3]
    assert shared.token_ids.shape == (3, 11)


def test_without_a_prompt_in_common_nothing_is_shared():
    assert share_prompts(batch_of([[2], [3], [4]]), model_width=32) is None


def test_nothing_is_shared_where_attention_over_the_long_row_would_cost_more():
    made = [Generation((7,) * 60, (0.0,) * 60, "length", 0)] * 16
    samples = [Sample(Task(str(i), "")) for i in range(16)]
    short, long = (collate([[2] * n] * 16, made, samples, [], pad_id=0) for n in (2, 900))
    assert share_prompts(short, model_width=128) is None
    assert share_prompts(long, model_width=128) is not None


def test_a_window_shorter_than_the_sequences_forbids_it():
    sizes = {**TOY_MODEL["sizes"], "sliding_window": 16}
    model = initialise(ModelSpec(architecture="mistral", sizes=sizes, tokenizer=TOY_MODEL["tokenizer"]), 0)
    assert model.can_pack(16)
    assert not model.can_pack(17)
    assert toy_model().can_pack(10_000)
    batch = batch_of(PROMPTS)
    assert torch.allclose(model.completion_logprobs(batch), one_by_one(model, batch), atol=1e-5)
