"""Advantage terms and length shaping by hand."""

import pytest
import torch

from collegium import Completion, PluginError, Sample, Task
from collegium.training.batch import RolloutBatch
from collegium_grpo.advantage import KlPenalty, Outcome
from collegium_grpo.shaping import overlong_penalty

NAN = float("nan")


def batch_of(rewards, groups, lengths, width=6, **streams):
    count = len(rewards)
    positions = torch.arange(width)[None, :]
    mask = (positions >= 1) & (positions < 1 + torch.tensor(lengths)[:, None])
    samples = [Sample(Task(f"t{group}", "?", domain="math"), Completion("!"), group) for group in groups]
    return RolloutBatch(
        token_ids=torch.zeros(count, width, dtype=torch.long),
        attention_mask=mask | (positions == 0),
        completion_mask=mask,
        samples=samples,
        verdicts=[],
        rewards=torch.tensor(rewards),
        groups=torch.tensor(groups),
        truncated=torch.zeros(count, dtype=torch.bool),
        weight_versions=torch.zeros(count, dtype=torch.long),
        **streams,
    )


def test_every_token_of_a_completion_carries_its_advantage():
    batch = batch_of([1.0, 0.0, NAN, 0.5], [0, 0, 0, 1], [2, 3, 1, 2])
    term = Outcome({"std": False}).per_token(batch)
    assert term.dtype == torch.float32
    assert term.tolist() == [
        [0, 0.5, 0.5, 0, 0, 0],
        [0, -0.5, -0.5, -0.5, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]


def test_grpo_divides_by_the_standard_deviation_by_default():
    term = Outcome().per_token(batch_of([1.0, 0.0], [0, 0], [1, 1]))
    assert term[:, 1].tolist() == pytest.approx([0.5**0.5, -(0.5**0.5)], rel=1e-5)


def test_overlong_completions_lose_reward_before_the_group_is_compared():
    batch = batch_of([1.0, 1.0, 1.0], [0, 0, 0], [2, 3, 5])
    term = Outcome({"std": False, "overlong": {"limit": 4, "buffer": 2}}).per_token(batch)
    # Rewards 1, 1 - 1/2, 1 - 1: mean 1/2.
    assert term.max(dim=1).values.tolist()[0] == pytest.approx(0.5)
    assert term[:, 1].tolist() == pytest.approx([0.5, 0.0, -0.5])


def test_a_completion_that_was_cut_gets_the_reward_for_a_missing_end_of_sequence():
    batch = batch_of([1.0, 1.0, NAN], [0, 0, 0], [2, 2, 2])
    batch.truncated = torch.tensor([False, True, True])
    assert Outcome({"std": False}).per_token(batch)[:, 1].tolist() == [0.0, 0.0, 0.0]
    term = Outcome({"std": False, "missing_eos": -10.0}).per_token(batch)
    assert term[:, 1].tolist() == [5.5, -5.5, 0.0]  # the one without a score stays without


def test_overlong_penalty_at_dapos_sizes():
    lengths = torch.tensor([1, 16384, 16385, 18432, 20480, 30000])
    expected = [0, 0, -1 / 4096, -0.5, -1, -1]
    assert overlong_penalty(lengths, limit=20480, buffer=4096).tolist() == pytest.approx(expected)


def test_kl_penalty_is_minus_the_log_ratio_on_completion_tokens_only():
    old, reference = torch.full((1, 6), -1.0), torch.full((1, 6), -1.5)
    batch = batch_of([0.0], [0], [2], old=old, reference=reference)
    assert KlPenalty({"coefficient": 0.1}).per_token(batch).tolist() == [pytest.approx([0, -0.05, -0.05, 0, 0, 0])]


def test_a_missing_stream_is_an_error_that_names_it():
    with pytest.raises(PluginError, match="reads the stream 'old'"):
        KlPenalty().per_token(batch_of([0.0], [0], [2]))
    assert KlPenalty.needs == {"old", "reference"}
    assert Outcome.needs == frozenset()
