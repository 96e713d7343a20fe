"""Rewards, advantages and returns: by hand, against a slow loop, and against TRL's numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from collegium.training import divergence
from collegium_ppo.estimation import explained_variance, final_scores, gae, token_rewards, whiten
from collegium_ppo.kl_controller import KlController
from collegium_ppo.losses import value_loss

NAN = math.nan
LOGPROBS = [[-0.5, -1.2, -0.3, -2.0], [-0.1, -0.7, -1.5, -0.4], [-2.2, -0.6, -0.9, -1.1]]
REFERENCE = [[-0.9, -1.0, -0.6, -1.4], [-0.3, -0.7, -2.5, -0.2], [-1.2, -0.8, -1.4, -1.6]]
VALUES = [[0.2, 0.5, -0.1, 0.9], [1.1, 0.4, 0.3, 0.0], [-0.4, 0.6, 0.8, 0.2]]
SCORES = [1.0, -0.5, 2.0]

# What the lines of PPOTrainer.train make of these tensors in trl 0.23.1 (later versions, 1.16.0 among them, have no PPO)
# with kl_coef 0.1, gamma 0.9 and lam 0.8: k1; and k3 with whitened rewards.
TRL = {
    "k1": {
        "rewards": [[-0.04, 0.02, -0.03, 1.06], [-0.02, 0.0, -0.1, -0.48], [0.1, -0.02, -0.05, 1.95]],
        "advantages": [
            [0.0940466, -0.0931282, 0.8469749, -0.0782224],
            [-1.6292117, -0.9941499, -1.0814055, -0.7871857],
            [1.3151745, 0.3258868, 0.3981124, 1.6831086],
        ],
        "returns": [
            [0.5155117, 0.646544, 0.8952, 1.06],
            [-0.1401191, -0.266832, -0.4456, -0.48],
            [1.0178561, 1.1248, 1.39, 1.95],
        ],
    },
    "k3": {
        "rewards": [
            [-0.1129109, -0.1054436, -0.1084074, 1.3904352],
            [-0.1050357, -0.1021764, -0.1583339, -0.8687028],
            [-0.2118235, -0.1050357, -0.1184385, 2.9345984],
        ],
        "advantages": [
            [-0.05926, -0.1374882, 0.6673207, 0.1425549],
            [-1.4883589, -1.0447552, -1.1010715, -0.9311474],
            [0.8427941, 0.4668205, 0.7271752, 1.9154162],
        ],
        "returns": [
            [0.4349694, 0.6359448, 1.054706, 1.3904352],
            [-0.4740447, -0.6125124, -0.7837998, -0.8687028],
            [0.9768277, 1.5009043, 2.0304723, 2.9345984],
        ],
    },
}
TRL_NEW_VALUES = [[0.5, 0.4, -0.1, 0.8], [1.0, 0.9, 0.3, -0.4], [-0.3, 0.7, 0.5, 0.2]]
TRL_VALUE_LOSS, TRL_VALUE_CLIPPED = 0.4249849021434784, 0.1666666716337204


def everywhere(rows: int = 3, tokens: int = 4) -> Tensor:
    return torch.ones(rows, tokens, dtype=torch.bool)


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_rewards_advantages_and_returns_are_those_of_trl(estimator):
    kl = getattr(divergence, estimator)(torch.tensor(LOGPROBS), torch.tensor(REFERENCE))
    rewards = token_rewards(torch.tensor(SCORES), kl, everywhere(), 0.1)
    if estimator == "k3":
        rewards = whiten(rewards, everywhere(), shift_mean=False)
    advantages, returns = gae(rewards, torch.tensor(VALUES), everywhere(), 0.9, 0.8)
    for name, found in {"rewards": rewards, "advantages": whiten(advantages, everywhere()), "returns": returns}.items():
        torch.testing.assert_close(found, torch.tensor(TRL[estimator][name]), atol=2e-6, rtol=0)


def test_the_value_loss_is_that_of_trl():
    loss, clipped = value_loss(
        torch.tensor(TRL_NEW_VALUES), torch.tensor(VALUES), torch.tensor(TRL["k1"]["returns"]), clip=0.2
    )
    assert loss.mean().item() == pytest.approx(TRL_VALUE_LOSS, rel=1e-6)
    assert clipped.mean().item() == pytest.approx(TRL_VALUE_CLIPPED, rel=1e-6)


def test_the_score_is_paid_at_the_last_token_and_the_penalty_at_each():
    mask = torch.tensor([[False, True, True, True], [False, True, False, False]])
    kl = torch.tensor([[9.0, 1.0, -2.0, 0.5], [9.0, 3.0, 9.0, 9.0]])
    rewards = token_rewards(torch.tensor([1.0, -1.0]), kl, mask, 0.1)
    torch.testing.assert_close(rewards, torch.tensor([[0.0, -0.1, 0.2, 0.95], [0.0, -1.3, 0.0, 0.0]]))


def test_a_row_without_trained_tokens_has_no_reward():
    assert token_rewards(torch.tensor([5.0]), torch.ones(1, 3), everywhere(1, 3) & False, 0.1).tolist() == [[0, 0, 0]]


def test_a_missing_end_of_sequence_replaces_the_scaled_score_but_gives_no_verdict_where_there_is_none():
    scores, truncated = torch.tensor([1.0, 1.0, NAN, 0.0]), torch.tensor([False, True, True, False])
    assert final_scores(scores, truncated, 10, -10).nan_to_num(nan=77).tolist() == [10, -10, 77, 0]
    assert final_scores(scores, truncated, 10, None).nan_to_num(nan=77).tolist() == [10, 10, 77, 0]


def test_gae_by_hand_is_monte_carlo_at_lambda_1_and_one_step_at_0():
    rewards, values, mask = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.5, 0.25, 0.75]]), everywhere(1, 3)
    advantages, returns = gae(rewards, values, mask, 1.0, 1.0)
    assert (advantages.tolist(), returns.tolist()) == ([[0.5, 0.75, 0.25]], [[1.0, 1.0, 1.0]])
    advantages, returns = gae(rewards, values, mask, 1.0, 0.0)
    assert (advantages.tolist(), returns.tolist()) == ([[-0.25, 0.5, 0.25]], [[0.25, 0.75, 1.0]])
    # Half discounted, half decayed: 0.25, then 0.375 - 0.25 + 0.25 * 0.25, then 0.125 - 0.5 + 0.25 * 0.1875.
    assert gae(rewards, values, mask, 0.5, 0.5)[0].tolist() == [[-0.328125, 0.1875, 0.25]]


def test_a_tools_tokens_are_stepped_over():
    rewards, values = torch.tensor([[0.0, 7.0, 7.0, 1.0]]), torch.tensor([[0.5, 9.0, 9.0, 0.25]])
    mask = torch.tensor([[True, False, False, True]])
    advantages, returns = gae(rewards, values, mask, 0.5, 0.5)
    short = gae(rewards[:, [0, 3]], values[:, [0, 3]], everywhere(1, 2), 0.5, 0.5)
    assert advantages[:, [0, 3]].tolist() == short[0].tolist()
    assert returns.tolist() == [[short[1][0, 0].item(), 0.0, 0.0, 1.0]]


def slow(rewards: list[float], values: list[float], gamma: float, lam: float) -> list[float]:
    """Write the estimator out as the sum that defines it."""
    steps = len(rewards)
    after = [*values[1:], 0.0]
    errors = [rewards[t] + gamma * after[t] - values[t] for t in range(steps)]
    return [sum((gamma * lam) ** (u - t) * errors[u] for u in range(t, steps)) for t in range(steps)]


numbers = st.floats(-5, 5, allow_nan=False)
rows = st.lists(st.tuples(numbers, numbers, st.booleans()), min_size=6, max_size=6)


@given(st.lists(rows, min_size=1, max_size=3), st.floats(0.05, 1), st.floats(0, 1))
def test_gae_is_the_sum_that_defines_it_whatever_the_mask(batch, gamma, lam):
    rewards, values, mask = (torch.tensor([[each[part] for each in row] for row in batch]) for part in range(3))
    advantages, returns = gae(rewards.double(), values.double(), mask, gamma, lam)
    assert not advantages[~mask].any()
    assert not returns[~mask].any()
    for row, (found, returned) in enumerate(zip(advantages, returns, strict=True)):
        kept = [(each[0], each[1]) for each in batch[row] if each[2]]
        expected = slow([each[0] for each in kept], [each[1] for each in kept], gamma, lam)
        assert found[mask[row]].tolist() == pytest.approx(expected, abs=1e-5)
        assert returned[mask[row]].tolist() == pytest.approx(
            [advantage + each[1] for advantage, each in zip(expected, kept, strict=True)], abs=1e-5
        )


def test_whitening_sees_the_mask_only():
    values, mask = (
        torch.tensor([[1.0, 2.0, 99.0], [3.0, -99.0, 6.0]]),
        torch.tensor([[True, True, False], [True, False, True]]),
    )
    found = whiten(values, mask)
    assert not found[~mask].any()
    assert found[mask].mean().item() == pytest.approx(0, abs=1e-6)
    assert found[mask].std().item() == pytest.approx(1, rel=1e-6)
    kept = whiten(values, mask, shift_mean=False)
    torch.testing.assert_close(kept[mask] - found[mask], torch.full((4,), 3.0))


def test_whitening_one_token_or_none_is_finite():
    assert whiten(torch.tensor([[3.0, 4.0]]), torch.tensor([[True, False]])).tolist() == [[0.0, 0.0]]
    assert whiten(torch.tensor([[3.0, 4.0]]), torch.tensor([[False, False]])).tolist() == [[0.0, 0.0]]


def test_explained_variance_is_1_for_the_returns_0_for_their_mean_and_below_for_worse():
    returns, mask = torch.tensor([[1.0, 2.0, 6.0, 50.0]]), torch.tensor([[True, True, True, False]])
    assert explained_variance(returns, returns, mask) == 1
    assert explained_variance(torch.full_like(returns, 3.0), returns, mask) == pytest.approx(0)
    assert explained_variance(-returns, returns, mask) == pytest.approx(-3)
    assert math.isnan(explained_variance(returns, torch.ones_like(returns), mask))


def test_the_coefficient_follows_its_target_by_at_most_two_percent_of_a_batch():
    controller = KlController(0.1, target=6.0)
    controller.observe(12.0)
    assert controller.coefficient == pytest.approx(0.1 * 1.02)
    controller.observe(6.6)
    assert controller.coefficient == pytest.approx(0.1 * 1.02 * 1.01)
    controller.observe(-3.0)
    assert controller.coefficient == pytest.approx(0.1 * 1.02 * 1.01 * 0.98)
    again = KlController(0.1, target=6.0)
    again.load_state_dict(controller.state_dict())
    assert again.coefficient == controller.coefficient


def test_a_coefficient_without_a_target_stays():
    controller = KlController(0.1)
    controller.observe(100.0)
    assert controller.coefficient == 0.1
