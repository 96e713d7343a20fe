"""The invariants on a real (tiny) Llama, through the core's own batch and forward pass."""

import pytest
import torch

from collegium import Completion, Generation, Sample, Task
from collegium.training.aggregation import token_weights
from collegium.training.batch import collate
from collegium.training.initialise import initialise
from collegium.training.model_spec import ModelSpec, TokenizerSpec
from collegium.training.policy_update import micro_batches, policy_streams
from collegium_grpo.loss import CispoLoss, ClippedLoss
from collegium_mopd.advantage import distill
from collegium_mopd.loss import ReverseKl, SampledToken, TopK

SPEC = ModelSpec(
    sizes={
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "tie_word_embeddings": True,
    },
    tokenizer=TokenizerSpec(characters="abcdefghij"),
)
DISTILLATION = {"sampled token": SampledToken(), "reverse KL": ReverseKl({"chunk": 5}), "top-k": TopK({"k": 6})}
ALL = {
    **DISTILLATION,
    "clipped": ClippedLoss({"importance": "tis", "kl_coefficient": 0.1}),
    "GSPO": ClippedLoss({"ratio": "sequence", "clip_low": 0.5, "clip_high": 0.5}),
    "CISPO": CispoLoss({"clip_high": 1.0}),
}


def rollouts(policy, teacher):
    """Lay six fixed rollouts of different lengths out, scored by both models."""
    make = torch.Generator().manual_seed(0)
    lengths = [(3, 4), (5, 9), (2, 1), (6, 6), (4, 2), (3, 8)]
    ids = [torch.randint(10, (sum(both),), generator=make).tolist() for both in lengths]
    prompts = [tokens[:prompt] for tokens, (prompt, _) in zip(ids, lengths, strict=True)]
    made = [tokens[prompt:] for tokens, (prompt, _) in zip(ids, lengths, strict=True)]
    generations = [Generation(tuple(tokens), tuple([-2.0] * len(tokens)), "stop", 0) for tokens in made]
    samples = [Sample(Task(f"t{row}", "?", domain="toy"), Completion("!"), row // 2) for row in range(6)]
    batch = collate(prompts, generations, samples, [], pad_id=0)
    with torch.no_grad():
        batch.old = batch.behaviour = policy.logprobs(batch)
        batch.teacher = batch.reference = teacher.logprobs(batch)
        states = teacher.predicting_states(batch)
    batch.advantage = distill(batch.teacher, batch.old, batch.completion_mask, coefficient=1.0, clip=5.0)
    batch.teachers = ["toy"] * 6
    batch.teacher_hidden = list(states.split(batch.completion_lengths.tolist()))
    batch.teacher_heads = {"toy": teacher.head.detach()}
    return batch


def backward(policy, batch, loss, size, aggregation="sequence-mean", constant=None):
    """Add the gradients of all micro-batches up; return the loss and the gradients."""
    policy.model.zero_grad()
    batch.token_weights = token_weights(batch.completion_mask, aggregation, constant=constant)
    total = 0.0
    for rows in micro_batches(batch, size):
        part = batch.select(rows)

        def read(states, head, bias, part=part):
            streams, _ = policy_streams(part, states, head, bias, loss.needs)
            return (part.token_weights * loss.per_token(streams).loss).sum()

        value = policy.read_completions(part, read)
        value.backward()
        total += value.item()
    return total, [parameter.grad.clone() for parameter in policy.parameters()]


@pytest.mark.parametrize("loss", DISTILLATION.values(), ids=DISTILLATION)
def test_a_teacher_with_the_students_weights_moves_no_weight(loss):
    policy, teacher = initialise(SPEC, seed=1), initialise(SPEC, seed=1)
    batch = rollouts(policy, teacher)
    assert not batch.advantage.any()
    _, gradients = backward(policy, batch, loss, size=6)
    assert max(gradient.abs().max().item() for gradient in gradients) == 0
    other = rollouts(policy, initialise(SPEC, seed=2))
    assert max(gradient.abs().max().item() for gradient in backward(policy, other, loss, size=6)[1]) > 1e-4


@pytest.mark.parametrize("loss", ALL.values(), ids=ALL)
@pytest.mark.parametrize(("aggregation", "constant"), [("sequence-mean", None), ("token-mean", None), ("constant", 9)])
def test_micro_batches_of_any_size_give_the_same_gradient(loss, aggregation, constant):
    policy = initialise(SPEC, seed=1)
    batch = rollouts(policy, initialise(SPEC, seed=2))
    whole, expected = backward(policy, batch, loss, 6, aggregation, constant)
    assert max(gradient.abs().max().item() for gradient in expected) > 1e-4
    for size in (1, 2, 4):
        value, gradients = backward(policy, batch, loss, size, aggregation, constant)
        assert value == pytest.approx(whole, rel=1e-4, abs=1e-6)
        for actual, wanted in zip(gradients, expected, strict=True):
            torch.testing.assert_close(actual, wanted, rtol=1e-3, atol=1e-6)


def sharpened(model):
    """Scale the tied embedding, so that the model's distributions are far from uniform."""
    with torch.no_grad():
        model.head.mul_(20)
    return model


@pytest.mark.parametrize("name", ["reverse KL", "top-k"])
def test_descent_on_a_divergence_brings_the_student_to_its_teacher(name):
    policy, loss = initialise(SPEC, seed=1), DISTILLATION[name]
    batch = rollouts(policy, sharpened(initialise(SPEC, seed=2)))
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-2, weight_decay=0.0)
    start, _ = backward(policy, batch, loss, 6)
    for _ in range(60):
        backward(policy, batch, loss, 6)
        optimizer.step()
    reached, _ = backward(policy, batch, loss, 6)
    assert start > 0.5
    assert reached < 0.05 * start
