"""Surrogates: values by hand, gradients against independent formulas."""

import math

import pytest
import torch

from collegium.training.surrogate import (
    cispo,
    clip_flags,
    clipped,
    masked_mean,
    on_policy_mask,
    sequence_ratio,
    token_ratio,
    truncated_importance,
    windowed_importance,
)


def test_clipped_surrogate_by_hand():
    ratio = torch.tensor([0.5, 1.0, 1.25, 1.5, 0.5, 1.5])
    advantage = torch.tensor([2.0, 2.0, 2.0, 2.0, -2.0, -2.0])
    expected = [-1.0, -2.0, -2.5, -2.56, 1.6, 3.0]
    torch.testing.assert_close(clipped(ratio, advantage, low=0.2, high=0.28), torch.tensor(expected))


def test_the_clip_takes_the_gradient_away_exactly_where_the_flags_say():
    ratio = torch.tensor([0.5, 0.9, 1.4, 0.5, 0.9, 1.4], requires_grad=True)
    advantage = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])
    (gradient,) = torch.autograd.grad(clipped(ratio, advantage, 0.2, 0.28).sum(), ratio)
    below, above = clip_flags(ratio.detach(), advantage, 0.2, 0.28)
    assert below.tolist() == [0, 0, 0, 1, 0, 0]
    assert above.tolist() == [0, 0, 1, 0, 0, 0]
    torch.testing.assert_close(gradient, -advantage * (1 - below - above))


def test_token_ratio_is_one_with_unit_gradient_on_policy_and_finite_for_a_broken_token():
    current = torch.tensor([[-1.0, -2.0, 0.0]], requires_grad=True)
    ratio = token_ratio(current, torch.tensor([[-1.0, -2.0, -500.0]]))
    (gradient,) = torch.autograd.grad(ratio.sum(), current)
    assert ratio[0, :2].tolist() == [1.0, 1.0]
    assert ratio.isfinite().all()
    assert gradient.tolist() == [[1.0, 1.0, 0.0]]


def test_cispo_is_the_clipped_ratio_times_the_policy_gradient_and_loses_no_token():
    current = torch.tensor([-0.1, -1.0, -3.0], dtype=torch.float64, requires_grad=True)
    old = torch.tensor([-1.1, -1.0, -1.0], dtype=torch.float64)
    advantage = torch.tensor([2.0, -1.0, 3.0], dtype=torch.float64)
    loss = cispo(current, token_ratio(current, old), advantage, low=0.5, high=0.5)
    (gradient,) = torch.autograd.grad(loss.sum(), current)
    expected = [-1.5 * 2.0, 1.0 * 1.0, -0.5 * 3.0]
    assert gradient.tolist() == pytest.approx(expected)
    assert loss.tolist() == pytest.approx([-1.5 * 2.0 * -0.1, 1.0 * -1.0, -0.5 * 3.0 * -3.0])


@pytest.fixture
def sequences():
    make = torch.Generator().manual_seed(2)
    mask = torch.tensor([[False, True, True, False, True], [True, True, False, False, False]])
    old = -torch.rand(2, 5, generator=make, dtype=torch.float64) - 0.5
    current = (old + 0.1 * torch.randn(2, 5, generator=make, dtype=torch.float64)).requires_grad_()
    return current, old, mask


def test_sequence_ratio_is_the_geometric_mean_of_the_trained_tokens_ratios(sequences):
    current, old, mask = sequences
    ratio = sequence_ratio(current, old, mask)
    for row in range(2):
        per_token = (current - old).exp()[row][mask[row]]
        expected = per_token.prod() ** (1 / len(per_token))
        torch.testing.assert_close(ratio[row], expected.expand(5))


def test_sequence_ratio_has_the_gradient_of_the_sequence_form_when_averaged(sequences):
    current, old, mask = sequences
    advantage = torch.tensor([[1.3], [-0.7]], dtype=torch.float64)
    token_form = masked_mean(clipped(sequence_ratio(current, old, mask), advantage, 0.2, 0.2), mask).sum()
    log_ratio = torch.where(mask, current - old, 0.0).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
    sequence_form = (-log_ratio.exp() * advantage).sum()
    torch.testing.assert_close(token_form, sequence_form)
    (ours,) = torch.autograd.grad(token_form, current)
    (theirs,) = torch.autograd.grad(sequence_form, current)
    torch.testing.assert_close(ours, theirs)


def test_truncated_importance_is_capped_above_only():
    weights = truncated_importance(torch.tensor([-3.0, 0.0, 0.5, 900.0]), cap=2.0)
    torch.testing.assert_close(weights, torch.tensor([math.exp(-3), 1.0, math.exp(0.5), 2.0]))


def test_windowed_importance_is_zero_outside_and_untouched_inside():
    log_ratio = torch.tensor([0.49, 0.51, 1.0, 1.99, 2.01]).log().requires_grad_()
    weights = windowed_importance(log_ratio, 0.5, 2.0)
    torch.testing.assert_close(weights, torch.tensor([0.0, 0.51, 1.0, 1.99, 0.0]))
    assert not weights.requires_grad


def test_off_policy_sequences_with_a_negative_advantage_are_masked():
    mask = torch.tensor([[True, True, False]] * 4)
    behaviour = torch.zeros(4, 3)
    current = torch.tensor([[-2.0, -1.0, 0.0], [-2.0, -1.0, 0.0], [-0.5, -1.0, -90.0], [1.0, 1.0, 0.0]])
    advantage = torch.tensor([[-1.0], [1.0], [-1.0], [-1.0]]).expand(4, 3)
    keep = on_policy_mask(current, behaviour, advantage, mask, delta=1.0)
    assert keep.tolist() == [[0.0], [1.0], [1.0], [1.0]]


def test_masked_mean_ignores_other_tokens_and_is_zero_without_any():
    values = torch.tensor([[1.0, 2.0, float("inf")], [1.0, 1.0, 1.0]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert masked_mean(values, mask).tolist() == [[1.5], [0.0]]
