"""Balanced weights: a domain's measured share of the gradient is its target, and the mean weight is 1 (invariant e)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collegium import ConfigError
from collegium.training.aggregation import token_weights
from collegium_mopd.stage import check_shares
from collegium_mopd.weighters import Balanced, Uniform

DOMAINS = ["math", "math", "math", "code", "format", "format"]
TOKENS = [40, 35, 25, 30, 2, 1]


def gradient_shares(weighter, aggregation, domains=DOMAINS, tokens=TOKENS):
    """Measure each domain's share of the gradient: the loss of every token is its own parameter."""
    mask = torch.arange(max(tokens))[None, :] < torch.tensor(tokens)[:, None]
    parameter = torch.zeros(mask.shape, requires_grad=True)
    sequence_weights = torch.tensor(weighter.weights(domains, tokens))
    constant = {"constant": 64} if aggregation == "constant" else {}
    weights = token_weights(mask, aggregation, sequence_weights=sequence_weights, **constant)
    (weights * parameter).sum().backward()
    per_sequence = parameter.grad.abs().sum(dim=1)
    total = per_sequence.sum().item()
    return {
        domain: sum(each.item() for each, name in zip(per_sequence, domains, strict=True) if name == domain) / total
        for domain in sorted(set(domains))
    }


MATCHING = [("sequences", "sequence-mean"), ("tokens", "token-mean"), ("tokens", "constant")]


@pytest.mark.parametrize(("observed", "aggregation"), MATCHING)
def test_measured_gradient_shares_are_equal_by_default(observed, aggregation):
    shares = gradient_shares(Balanced({"observed": observed}), aggregation)
    assert shares == pytest.approx({"math": 1 / 3, "code": 1 / 3, "format": 1 / 3}, rel=1e-5)


@pytest.mark.parametrize(("observed", "aggregation"), MATCHING)
def test_measured_gradient_shares_hit_the_targets(observed, aggregation):
    targets = {"math": 5.0, "code": 2.0, "format": 3.0}
    shares = gradient_shares(Balanced({"observed": observed, "targets": targets}), aggregation)
    assert shares == pytest.approx({"math": 0.5, "code": 0.2, "format": 0.3}, rel=1e-5)


def test_without_balance_a_domain_of_short_answers_has_its_token_share():
    shares = gradient_shares(Uniform(), "token-mean")
    assert shares == pytest.approx({"math": 100 / 133, "code": 30 / 133, "format": 3 / 133}, rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 50)), min_size=1, max_size=12),
    observed=st.sampled_from(["sequences", "tokens"]),
)
def test_the_mean_weight_is_one_and_shares_are_equal_whatever_the_batch(rows, observed):
    domains, tokens = [domain for domain, _ in rows], [count for _, count in rows]
    weighter = Balanced({"observed": observed})
    weights = weighter.weights(domains, tokens)
    assert sum(weights) / len(weights) == pytest.approx(1)
    aggregation = "sequence-mean" if observed == "sequences" else "token-mean"
    shares = gradient_shares(weighter, aggregation, domains, tokens)
    assert list(shares.values()) == pytest.approx([1 / len(shares)] * len(shares), rel=1e-4)


def test_targets_are_scaled_to_the_domains_that_the_batch_has():
    weighter = Balanced({"targets": {"math": 1.0, "code": 3.0, "format": 96.0}})
    shares = gradient_shares(weighter, "sequence-mean", ["math", "code"], [5, 5])
    assert shares == pytest.approx({"math": 0.25, "code": 0.75}, rel=1e-5)


def test_a_domain_without_a_trained_token_weighs_nothing():
    for observed in ("sequences", "tokens"):
        assert Balanced({"observed": observed}).weights(["a", "b"], [4, 0]) == pytest.approx([2, 0])
    assert Balanced().weights(["a", "b"], [0, 0]) == [1.0, 1.0]


def test_a_domain_without_a_target_is_refused():
    with pytest.raises(ConfigError, match=r"no target for 'code'; its targets are for 'coed', 'math'"):
        Balanced({"targets": {"math": 1.0, "coed": 1.0}}).weights(["math", "code"], [3, 3])


def test_uniform_weighs_every_sequence_alike():
    assert Uniform().weights(["a", "b", "b"], [1, 9, 2]) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("observed", "aggregation", "fits"),
    [
        ("sequences", "sequence-mean", True),
        ("tokens", "token-mean", True),
        ("tokens", "constant", True),
        ("sequences", "token-mean", False),
        ("tokens", "sequence-mean", False),
    ],
)
def test_a_balance_that_the_aggregation_would_undo_is_refused(observed, aggregation, fits):
    weighter = Balanced({"observed": observed})
    if fits:
        check_shares(weighter, aggregation)
        return
    with pytest.raises(ConfigError, match="weighter balanced counts"):
        check_shares(weighter, aggregation)
