"""How scores become one, by hand."""

import math

import pytest

from collegium_rewards.combine import combined, gate_opens, shaped

WEIGHTS = {"right": 1.0, "english": 0.5, "long": -0.25}


def test_a_weighted_sum():
    scores = {"right": 1.0, "english": 0.8, "long": 0.4}
    assert combined("weighted", scores, WEIGHTS, None) == pytest.approx(1 + 0.4 - 0.1)


def test_a_product_is_zero_where_one_part_is():
    assert combined("product", {"a": 0.5, "b": 0.5}, {"a": 1, "b": 1}, None) == 0.25
    assert combined("product", {"a": 1.0, "b": 0.0}, {"a": 1, "b": 1}, None) == 0.0


def test_piecewise_is_the_gate_alone_or_the_other_part():
    assert combined("piecewise", {"safe": 0.1}, {}, "safe") == 0.1
    assert combined("piecewise", {"safe": 0.9, "helpful": 0.3}, {}, "safe") == 0.3


@pytest.mark.parametrize(
    ("combine", "score", "is_safety", "opens"),
    [
        ("gated", 0.15, False, True),
        ("gated", 0.1499, False, False),
        ("gated", 0.9, True, True),
        ("piecewise", 0.15, False, True),
        ("piecewise", 0.1499, False, False),
        ("piecewise", 0.9, True, False),
    ],
)
def test_the_gate_opens_at_its_threshold_and_for_llama_2_not_on_safety_prompts(combine, score, is_safety, opens):
    assert gate_opens(combine, score, 0.15, is_safety=is_safety) is opens


def test_shapes_by_hand():
    values = [0.5, 0.5, 1 / (1 + math.exp(-3))]  # logits 0, 0 and 3
    assert shaped(values, "plain") == values
    assert shaped(values, "logit") == pytest.approx([0, 0, 3])
    # Of 0, 0, 3 the mean is 1 and the variance 2.
    assert shaped(values, "whitened-logit") == pytest.approx([-1 / 2**0.5, -1 / 2**0.5, 2 / 2**0.5])
    assert shaped([0.0, 0.0, 3.0], "whitened") == pytest.approx([-1 / 2**0.5, -1 / 2**0.5, 2 / 2**0.5])
    assert shaped([2.0, 2.0], "whitened") == [0.0, 0.0]
    assert shaped([], "whitened") == []


@pytest.mark.parametrize("output", ["logit", "whitened-logit"])
def test_the_logit_of_what_is_no_sigmoid_is_refused(output):
    with pytest.raises(ValueError, match="sigmoid scores in"):
        shaped([0.5, 1.5], output)
