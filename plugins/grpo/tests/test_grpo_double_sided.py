"""The loss `double-sided` against values worked by hand."""

import pytest
import torch

from collegium import PluginError
from collegium.training.streams import TokenStreams
from collegium_grpo.double_sided import DoubleSidedLoss

RATIOS = [[0.5, 0.79, 0.81, 1.0], [1.27, 1.29, 2.0, 1.1]]
ADVANTAGE = [[1.0, -1.0, 1.0, -2.0], [-1.0, 1.0, -1.0, 0.5]]
BEHAVIOUR = [[-1.0, -2.0, -0.5, -3.0], [-1.0, -1.0, -0.1, -4.0]]
# -r A inside [0.8, 1.28], 0 outside, whatever the advantage's sign; its derivative in log p is the same number.
EXPECTED = [[0.0, 0.0, -0.81, 2.0], [1.27, 0.0, 0.0, -0.55]]


@pytest.fixture
def streams():
    behaviour = torch.tensor(BEHAVIOUR, dtype=torch.float64)
    current = (behaviour + torch.tensor(RATIOS, dtype=torch.float64).log()).requires_grad_()
    return TokenStreams(
        mask=torch.ones(2, 4, dtype=torch.bool),
        current=current,
        behaviour=behaviour,
        advantage=torch.tensor(ADVANTAGE, dtype=torch.float64),
    )


def test_values_and_gradients_are_those_worked_by_hand(streams):
    output = DoubleSidedLoss().per_token(streams)
    expected = torch.tensor(EXPECTED, dtype=torch.float64)
    torch.testing.assert_close(output.loss, expected)
    (gradient,) = torch.autograd.grad(output.loss.sum(), streams.current)
    torch.testing.assert_close(gradient, expected)


def test_tokens_outside_the_range_have_exactly_no_value_and_no_gradient(streams):
    output = DoubleSidedLoss().per_token(streams)
    (gradient,) = torch.autograd.grad(output.loss.sum(), streams.current)
    out = torch.tensor(EXPECTED) == 0
    assert (output.loss[out] == 0).all()
    assert (gradient[out] == 0).all()
    assert output.stats["masked"].tolist() == out.float().tolist()
    assert output.stats["clip_low"].tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]
    assert output.stats["clip_high"].tolist() == [[0, 0, 0, 0], [0, 1, 1, 0]]


def test_the_range_is_an_option(streams):
    output = DoubleSidedLoss({"clip_low": 0.51, "clip_high": 1.01}).per_token(streams)
    ratios, advantage = torch.tensor(RATIOS), torch.tensor(ADVANTAGE)
    torch.testing.assert_close(output.loss.float(), -ratios * advantage)


def test_on_policy_the_gradient_is_that_of_the_policy_gradient(streams):
    streams.current = streams.behaviour.clone().requires_grad_()
    output = DoubleSidedLoss().per_token(streams)
    (gradient,) = torch.autograd.grad(output.loss.sum(), streams.current)
    torch.testing.assert_close(gradient, -streams.advantage)


def test_a_ratio_far_beyond_the_range_stays_finite(streams):
    streams.behaviour = streams.behaviour - 500.0
    output = DoubleSidedLoss().per_token(streams)
    (gradient,) = torch.autograd.grad(output.loss.sum(), streams.current)
    assert not output.loss.any()
    assert not gradient.any()


def test_it_reads_the_engines_log_probs_alone_and_so_corrects_for_age(streams):
    assert DoubleSidedLoss().needs == {"current", "behaviour", "advantage"}
    assert DoubleSidedLoss().corrects_age
    streams.behaviour = None
    with pytest.raises(PluginError, match="reads the stream 'behaviour'"):
        DoubleSidedLoss().per_token(streams)
