"""The loss `windowed`: Kimi K2.5's formula by hand, and where exactly it has no gradient."""

import math

import pytest
import torch
from pydantic import ValidationError

from collegium.training.streams import TokenStreams
from collegium_grpo.windowed import WindowedLoss

WINDOW = {"alpha": -0.5, "beta": 0.25, "tau": 0.0}
LOG_RATIOS = [-0.6, -0.4, 0.0, 0.2, 0.3]


def streams(advantage: float, log_ratios: list[float] = LOG_RATIOS, **more: torch.Tensor) -> TokenStreams:
    old = torch.full((1, len(log_ratios)), -1.0, dtype=torch.float64)
    current = (old + torch.tensor([log_ratios], dtype=torch.float64)).requires_grad_()
    advantages = torch.full_like(old, advantage)
    return TokenStreams(
        mask=torch.ones_like(old, dtype=torch.bool), current=current, advantage=advantages, **{"old": old, **more}
    )


def gradient_of(loss: WindowedLoss, given: TokenStreams) -> list[float]:
    return torch.autograd.grad(loss.per_token(given).loss.sum(), given.current)[0][0].tolist()


@pytest.mark.parametrize("advantage", [2.0, -2.0])
def test_the_gradient_is_that_of_the_ratio_inside_and_exactly_zero_outside_whatever_the_sign(advantage):
    found = gradient_of(WindowedLoss(WINDOW), streams(advantage))
    inside = [-advantage * math.exp(value) for value in LOG_RATIOS[1:4]]
    assert (found[0], found[-1]) == (0.0, 0.0)
    assert found[1:-1] == pytest.approx(inside)


def test_values_are_those_of_the_formula():
    loss = WindowedLoss({**WINDOW, "tau": 0.5}).per_token(streams(2.0)).loss[0].tolist()
    clipped = [math.exp(-0.5), math.exp(-0.4), 1.0, math.exp(0.2), math.exp(0.25)]
    expected = [-2 * ratio + 0.5 * value**2 for ratio, value in zip(clipped, LOG_RATIOS, strict=True)]
    assert loss == pytest.approx(expected)


def test_the_square_pulls_back_what_has_left_the_window():
    found = gradient_of(WindowedLoss({**WINDOW, "tau": 0.5}), streams(2.0))
    assert found[0] == pytest.approx(2 * 0.5 * -0.6)
    assert found[-1] == pytest.approx(2 * 0.5 * 0.3)


def test_the_ratio_may_be_to_what_the_engine_recorded():
    loss = WindowedLoss({**WINDOW, "anchor": "behaviour"})
    assert loss.needs == {"current", "advantage", "behaviour"}
    assert loss.corrects_age
    assert not WindowedLoss(WINDOW).corrects_age
    far = torch.tensor([[-1.6, -1.4, -1.0, -0.8, -0.7]], dtype=torch.float64)  # current of these log-ratios
    assert gradient_of(loss, streams(1.0, behaviour=far)) == pytest.approx([-1.0] * 5)


def test_shares_outside_the_window_are_told():
    stats = WindowedLoss(WINDOW).per_token(streams(1.0)).stats
    assert stats["clip_low"].tolist() == [[1, 0, 0, 0, 0]]
    assert stats["clip_high"].tolist() == [[0, 0, 0, 0, 1]]
    assert not any(value.requires_grad for value in stats.values())


def test_a_broken_token_leaves_the_gradient_finite():
    found = gradient_of(WindowedLoss(WINDOW), streams(1.0, [-1e4, 1e4, 0.0]))
    assert found == [0.0, 0.0, -1.0]


@pytest.mark.parametrize("options", [{}, {"alpha": 0.1}, {"beta": 0}, {"tau": -1}, {"alpha": -math.inf}])
def test_the_three_numbers_are_the_recipes_to_give_around_zero(options):
    given = {**WINDOW, **options} if options else {}
    with pytest.raises(ValidationError):
        WindowedLoss(given)
