"""The group-relative advantage by hand."""

import math

import pytest
import torch

from collegium.training.outcome import group_relative

NAN = float("nan")


def test_each_reward_is_compared_with_its_own_group():
    rewards = torch.tensor([1.0, 0.0, 0.0, 5.0, 7.0, 0.0])
    groups = torch.tensor([8, 8, 3, 3, 3, 8])
    advantage, valid = group_relative(rewards, groups, std=False)
    torch.testing.assert_close(advantage, torch.tensor([2 / 3, -1 / 3, -4.0, 1.0, 3.0, -1 / 3]))
    assert valid.all()


def test_the_standard_deviation_is_that_of_the_group_and_unbiased():
    advantage, _ = group_relative(torch.tensor([1.0, 0.0, 0.0, 1.0]), torch.zeros(4, dtype=torch.long), std=True)
    scale = math.sqrt(4 * 0.25 / 3)
    torch.testing.assert_close(advantage, torch.tensor([0.5, -0.5, -0.5, 0.5]) / scale, rtol=1e-5, atol=0)


@pytest.mark.parametrize("std", [False, True])
def test_a_sample_without_a_score_is_in_no_mean_and_has_no_advantage(std):
    groups = torch.tensor([0, 0, 0])
    with_gap, valid = group_relative(torch.tensor([1.0, NAN, 0.0]), groups, std=std)
    without, _ = group_relative(torch.tensor([1.0, 0.0]), groups[:2], std=std)
    assert valid.tolist() == [True, False, True]
    assert with_gap.tolist() == [without[0].item(), 0.0, without[1].item()]


@pytest.mark.parametrize("std", [False, True])
def test_groups_that_cannot_be_compared_have_no_advantage(std):
    rewards = torch.tensor([3.0, NAN, 0.1, 0.1, 0.1, NAN])
    groups = torch.tensor([0, 0, 1, 1, 1, 2])
    advantage, valid = group_relative(rewards, groups, std=std)
    torch.testing.assert_close(advantage, torch.zeros(6))
    assert valid.tolist() == [True, False, True, True, True, False]


def test_an_infinite_reward_is_refused():
    with pytest.raises(ValueError, match="must be finite"):
        group_relative(torch.tensor([1.0, math.inf]), torch.tensor([0, 0]), std=False)
    with pytest.raises(ValueError, match="one group per reward"):
        group_relative(torch.tensor([1.0]), torch.tensor([0, 0]), std=False)
