"""The loss `adaptive-entropy`: its clip by hand, its control, and its state."""

import math

import pytest
import torch
from pydantic import ValidationError

from collegium import PluginError
from collegium.training.streams import TokenStreams
from collegium_rewards.adaptive_entropy import AdaptiveEntropyLoss, clip_range, moved
from collegium_rewards.configs import AdaptiveEntropyConfig


def streams(ratios: list[float], advantages: list[float]) -> TokenStreams:
    current = torch.tensor([ratios]).log().requires_grad_()
    mask = torch.ones(1, len(ratios), dtype=torch.bool)
    return TokenStreams(mask, current, old=torch.zeros_like(current), advantage=torch.tensor([advantages]))


def test_the_clip_begins_symmetric_in_the_log_ratio():
    low, high = clip_range(0.6, 0.0)
    assert (1 - low, 1 + high) == pytest.approx((0.4, 2.5))
    assert math.log(1 - low) == pytest.approx(-math.log(1 + high))
    assert 1 + clip_range(0.6, 0.75)[1] == pytest.approx(3.25)


def test_the_loss_by_hand():
    loss = AdaptiveEntropyLoss()
    taken = streams([0.2, 0.2, 3.0, 3.0, 100.0, 1.0], [1.0, -1.0, 1.0, -1.0, -1.0, 2.0])
    output = loss.per_token(taken)
    # min(r A, clip(r) A): 0.2, -0.4, 2.5, -3, and -50 where the outer clip cuts, 2.
    assert output.loss[0].tolist() == pytest.approx([-0.2, 0.4, -2.5, 3.0, 50.0, -2.0])
    assert output.stats["clip_low"].tolist() == [[0, 1, 0, 0, 0, 0]]
    assert output.stats["clip_high"].tolist() == [[0, 0, 1, 0, 0, 0]]
    assert output.stats["outer_clip"].tolist() == [[0, 0, 0, 0, 1, 0]]
    gradient = torch.autograd.grad(output.loss.sum(), taken.current)[0]
    assert gradient[0].tolist() == pytest.approx([-0.2, 0.0, 0.0, 3.0, 0.0, -2.0])


def test_a_wider_clip_lets_more_of_a_rising_token_through():
    loss = AdaptiveEntropyLoss()
    loss.load_state_dict({"widening": 1.0})
    assert loss.per_token(streams([3.0, 4.0], [1.0, 1.0])).loss[0].tolist() == pytest.approx([-3.0, -3.5])


def test_the_control_moves_by_its_rate_towards_the_target_within_its_bounds():
    config = AdaptiveEntropyConfig()
    assert moved(0.0, 0.2, config) == 0.25
    assert moved(2.5, 0.2, config) == 2.5
    assert moved(0.5, 0.4, config) == 0.25
    assert moved(0.0, 0.4, config) == 0.0
    assert moved(0.5, 0.3, config) == 0.5


def test_a_step_moves_the_next_steps_clip_and_one_without_an_update_none():
    loss = AdaptiveEntropyLoss()
    assert loss.after_step(1, {"entropy": 0.1}) == {"clip_widening": 0.0}
    assert loss.after_step(2, {"reward": 1.0}) == {"clip_widening": 0.25}
    assert loss.after_step(3, {"entropy": 0.1}) == {"clip_widening": 0.25}
    resumed = AdaptiveEntropyLoss()
    resumed.load_state_dict(loss.state_dict())
    assert resumed.widening == loss.widening == 0.5


def test_a_missing_stream_is_an_error_that_names_it():
    taken = streams([1.0], [1.0])
    taken.advantage = None
    with pytest.raises(PluginError, match="reads the stream 'advantage'"):
        AdaptiveEntropyLoss().per_token(taken)


def test_an_outer_clip_inside_the_inner_one_is_refused():
    with pytest.raises(ValidationError, match="must be above the widest clip, 5"):
        AdaptiveEntropyConfig(ratio_max=5.0)
