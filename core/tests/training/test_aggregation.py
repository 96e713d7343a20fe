"""Aggregation weights by hand, and the same loss whatever the micro-batches and ranks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collegium.training.aggregation import Totals, token_weights, totals_of

MASK = torch.tensor([[False, True, True, True], [False, True, False, False], [False, False, False, False]])
LOSS = torch.tensor([[9.0, 1.0, 2.0, 3.0], [9.0, 8.0, 9.0, 9.0], [9.0, 9.0, 9.0, 9.0]])


def aggregate(mode, **options):
    return (token_weights(MASK, mode, **options) * LOSS).sum().item()


def test_every_mode_by_hand():
    assert aggregate("sequence-mean") == pytest.approx((2 + 8) / 2)
    assert aggregate("token-mean") == pytest.approx((1 + 2 + 3 + 8) / 4)
    assert aggregate("constant", constant=10) == pytest.approx((6 + 8) / (2 * 10))


def test_every_mode_with_sequence_weights_by_hand():
    weights = torch.tensor([0.5, 1.5, 7.0])
    assert aggregate("sequence-mean", sequence_weights=weights) == pytest.approx((0.5 * 2 + 1.5 * 8) / 2)
    assert aggregate("token-mean", sequence_weights=weights) == pytest.approx((0.5 * 6 + 1.5 * 8) / (0.5 * 3 + 1.5))
    assert aggregate("constant", constant=10, sequence_weights=weights) == pytest.approx((0.5 * 6 + 1.5 * 8) / 20)


@pytest.mark.parametrize("mode", ["sequence-mean", "token-mean"])
def test_the_weights_of_a_mean_add_up_to_one(mode):
    weights = token_weights(MASK, mode, sequence_weights=torch.tensor([0.2, 3.0, 1.0]))
    assert weights.sum().item() == pytest.approx(1)
    assert not weights[~MASK].any()


def options_of(mode):
    return {"constant": 5} if mode == "constant" else {}


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=9),
    mode=st.sampled_from(["sequence-mean", "token-mean", "constant"]),
    cut=st.integers(0, 9),
    seed=st.integers(0, 1000),
)
def test_ranks_that_share_totals_get_the_weights_of_the_whole_batch(lengths, mode, cut, seed):
    mask = torch.arange(6)[None, :] < torch.tensor(lengths)[:, None]
    sequence_weights = torch.rand(len(lengths), generator=torch.Generator().manual_seed(seed)) + 0.1
    whole = token_weights(mask, mode, sequence_weights=sequence_weights, **options_of(mode))
    parts = [(mask[:cut], sequence_weights[:cut]), (mask[cut:], sequence_weights[cut:])]
    summed = Totals(*(sum(each) for each in zip(*(totals_of(*part) for part in parts), strict=True)))
    split = [
        token_weights(rows, mode, sequence_weights=weights, totals=summed, **options_of(mode))
        for rows, weights in parts
    ]
    torch.testing.assert_close(torch.cat(split), whole, rtol=1e-6, atol=0)


@pytest.mark.parametrize("mode", ["sequence-mean", "token-mean", "constant"])
def test_micro_batches_of_any_size_accumulate_the_same_gradient(mode):
    make = torch.Generator().manual_seed(5)
    mask = torch.rand(6, 8, generator=make) < 0.5
    features = torch.randn(6, 8, 3, generator=make, dtype=torch.float64)
    weights = token_weights(mask, mode, **options_of(mode)).double()

    def gradient(size):
        parameter = torch.ones(3, dtype=torch.float64, requires_grad=True)
        for rows in torch.arange(6).split(size):
            (weights[rows] * (features[rows] @ parameter).square()).sum().backward()
        return parameter.grad

    for size in (1, 2, 4):
        torch.testing.assert_close(gradient(size), gradient(6), rtol=1e-12, atol=0)


def test_nothing_to_train_on_weighs_nothing():
    empty = torch.zeros(2, 3, dtype=torch.bool)
    for mode in ("sequence-mean", "token-mean", "constant"):
        assert token_weights(empty, mode, **options_of(mode)).tolist() == [[0.0] * 3] * 2
        assert not token_weights(MASK, mode, sequence_weights=torch.zeros(3), **options_of(mode)).any()


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="unknown aggregation 'mean'"):
        token_weights(MASK, "mean")
    with pytest.raises(ValueError, match="takes a length"):
        token_weights(MASK, "constant")
    with pytest.raises(ValueError, match="takes a length"):
        token_weights(MASK, "token-mean", constant=3)
    with pytest.raises(ValueError, match="at least 1 token"):
        token_weights(MASK, "constant", constant=0)
    with pytest.raises(ValueError, match="finite and not negative"):
        token_weights(MASK, "token-mean", sequence_weights=torch.tensor([1.0, -1.0, 1.0]))
    with pytest.raises(ValueError, match="one weight per sequence"):
        token_weights(MASK, "token-mean", sequence_weights=torch.ones(2))
