"""The piecewise reward of Llama 2-Chat by hand."""

import math

import pytest
import torch

from collegium.training.reward_shaping import piecewise_reward, whitened_logit


def test_safety_rules_on_safety_prompts_and_below_the_threshold():
    safety = torch.tensor([0.9, 0.9, 0.14, 0.15])
    helpfulness = torch.tensor([0.3, 0.4, 0.8, 0.7])
    is_safety = torch.tensor([True, False, False, False])
    expected = torch.tensor([0.9, 0.4, 0.14, 0.7])
    torch.testing.assert_close(piecewise_reward(safety, helpfulness, is_safety), expected)


def test_whitening_is_over_the_batch_of_logits():
    e = math.e
    scores = torch.tensor([0.5, e / (1 + e), 1 / (1 + e), e**3 / (1 + e**3)], dtype=torch.float64)
    # Logits 0, 1, -1, 3: mean 3/4, variance (9 + 1 + 49 + 81) / 16 / 4.
    scale = math.sqrt(140 / 64)
    expected = [-0.75 / scale, 0.25 / scale, -1.75 / scale, 2.25 / scale]
    assert whitened_logit(scores).tolist() == pytest.approx(expected)


def test_saturated_and_equal_scores_stay_finite():
    assert whitened_logit(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([-1, 1])
    assert whitened_logit(torch.tensor([0.3, 0.3])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("bad", [1.2, -0.1, float("nan")])
def test_what_is_no_sigmoid_score_is_refused(bad):
    with pytest.raises(ValueError, match=r"scores in \[0, 1\]"):
        whitened_logit(torch.tensor([0.5, bad]))
