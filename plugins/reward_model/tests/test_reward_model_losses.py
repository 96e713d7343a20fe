"""The losses against values worked by hand, and the K-wise form against the mean over its pairs."""

import math

import pytest
import torch

from collegium_reward_model.losses import (
    accuracy,
    all_pairs,
    calibration_error,
    centering_loss,
    margins_of,
    ranking_loss,
)

PAIR = torch.tensor([[0, 1]])


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


def test_a_pair_costs_minus_the_log_of_the_sigmoid_of_its_difference():
    assert float(ranking_loss(torch.tensor([1.5, 0.5]), PAIR)) == pytest.approx(0.3132617, abs=1e-6)
    assert float(ranking_loss(torch.tensor([0.0, 0.0]), PAIR)) == pytest.approx(math.log(2))


def test_a_margin_asks_for_that_much_more():
    rewards = torch.tensor([2.0, 0.5])
    assert float(ranking_loss(rewards, PAIR, 1.0)) == pytest.approx(softplus(-(1.5 - 1.0)), abs=1e-6)
    assert float(ranking_loss(rewards, PAIR, torch.tensor([3.0]))) == pytest.approx(softplus(1.5), abs=1e-6)


def test_k_completions_make_all_their_pairs():
    assert all_pairs(4) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert len(all_pairs(9)) == math.comb(9, 2)


def test_the_loss_of_a_ranking_is_the_mean_over_its_pairs_and_so_is_its_gradient():
    rewards = torch.tensor([0.3, 1.1, -0.7, 0.2], requires_grad=True)
    pairs = torch.tensor(all_pairs(4))
    ranking_loss(rewards, pairs).backward()
    apart = rewards.detach().clone().requires_grad_()
    losses = [ranking_loss(apart[[better, worse]], PAIR) for better, worse in all_pairs(4)]
    (sum(losses) / math.comb(4, 2)).backward()
    torch.testing.assert_close(ranking_loss(rewards, pairs), torch.stack(losses).mean())
    torch.testing.assert_close(rewards.grad, apart.grad)


def test_centering_is_the_square_of_a_pairs_sum():
    assert float(centering_loss(torch.tensor([2.0, -0.5]), PAIR)) == pytest.approx(2.25)
    assert float(centering_loss(torch.tensor([1.0, 0.0, 2.0]), torch.tensor(all_pairs(3)))) == pytest.approx(
        (1 + 9 + 4) / 3
    )


def test_accuracy_counts_a_tie_as_half():
    assert accuracy(margins_of(torch.tensor([3.0, 1.0, 1.0]), torch.tensor([[0, 1], [1, 2], [2, 0]]))) == 0.5


def test_calibration_compares_confidence_with_how_often_it_is_right():
    sure = torch.full((4,), 50.0)
    assert calibration_error(sure) == pytest.approx(0.0)
    assert calibration_error(-sure) == pytest.approx(1.0)
    three_of_four = math.log(3.0)  # a sigmoid of 0.75
    assert calibration_error(torch.tensor([1.0, 1.0, 1.0, -1.0]) * three_of_four) == pytest.approx(0.0, abs=1e-6)
    assert calibration_error(torch.tensor([1.0, -1.0]) * three_of_four) == pytest.approx(0.25, abs=1e-6)
