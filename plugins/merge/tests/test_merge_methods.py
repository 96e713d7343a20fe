"""The methods by hand and by their properties."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from collegium_merge.methods import average, drop_and_rescale, elect_and_merge, trim, weighted_sum
from collegium_merge.threshold import magnitude_threshold


def vector(*values: float) -> Tensor:
    return torch.tensor(values)


def test_an_average_by_hand():
    models = [vector(1.0, -2.0), vector(3.0, 4.0)]
    assert average(models, [1, 1]).tolist() == [2.0, 1.0]
    assert average(models, [3, 1]).tolist() == [1.5, -0.5]
    assert average(models, [0, 2]).tolist() == [3.0, 4.0]


@given(st.integers(1, 7), st.integers(0, 10_000))
def test_the_average_of_equal_models_is_the_model_to_the_last_bit(count, seed):
    tensor = torch.randn(50, generator=torch.Generator().manual_seed(seed))
    weights = [0.1 + (index * 37 % 11) for index in range(count)]
    assert torch.equal(average([tensor] * count, weights), tensor)


def test_task_arithmetic_by_hand():
    assert weighted_sum([vector(1.0, 2.0), vector(-4.0, 0.5)], [1.0, -0.5]).tolist() == [3.0, 1.75]


def test_ties_on_a_worked_example():
    # Per entry: both agree; the larger wins; three to one by mass, not by number; they cancel; one is trimmed away.
    first = vector(1.0, 3.0, -1.0, 2.0, 0.0)
    second = vector(2.0, -1.0, -1.0, -2.0, 5.0)
    third = vector(3.0, 0.0, 4.0, 0.0, 0.0)
    merged = elect_and_merge([first, second, third], [1.0, 1.0, 1.0])
    assert merged.tolist() == [2.0, 3.0, 4.0, 0.0, 5.0]


def test_ties_weights_count_in_the_election_and_in_the_mean():
    merged = elect_and_merge([vector(1.0, 2.0), vector(-2.0, 4.0)], [3.0, 1.0])
    assert merged.tolist() == [1.0, 2.5]


def test_ties_of_one_untrimmed_model_is_its_change():
    change = vector(1.0, -2.0, 0.0)
    assert torch.equal(elect_and_merge([change], [1.0]), change)


def test_trimming_keeps_what_reaches_the_threshold():
    assert trim(vector(-3.0, 1.0, 2.0), 2.0).tolist() == [-3.0, 0.0, 2.0]


@given(st.integers(0, 10_000), st.sampled_from([0.001, 0.05, 0.2, 0.5, 0.9, 0.999]))
def test_the_threshold_is_the_exact_order_statistic_over_all_tensors(seed, density):
    generator = torch.Generator().manual_seed(seed)
    tensors = [torch.randn(size, generator=generator) * 10.0 ** (index - 2) for index, size in enumerate((37, 200, 5))]
    tensors[1][:50] = 0.0
    magnitudes = torch.cat(tensors).abs().sort(descending=True).values
    expected = magnitudes[max(1, int(density * len(magnitudes))) - 1].item()
    assert magnitude_threshold(lambda: tensors, density) == expected


def test_a_threshold_of_a_matrix_and_of_everything():
    assert magnitude_threshold(lambda: [torch.tensor([[1.0, -4.0], [3.0, 2.0]]).T], 0.5) == 3.0
    assert magnitude_threshold(lambda: [vector(1.0, 2.0)], 1.0) == 0.0


def test_dare_keeps_the_share_and_the_mean():
    kept = drop_and_rescale(torch.ones(100_000), 0.25, seed=3)
    assert set(kept.unique().tolist()) == {0.0, 4.0}
    # Five standard deviations of a share of 0.25 of 100,000 draws.
    assert (kept > 0).float().mean().item() == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / 100_000) ** 0.5)


def test_dare_draws_follow_from_the_seed_and_density_one_keeps_all():
    change = torch.randn(100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drop_and_rescale(change, 0.5, 1), drop_and_rescale(change, 0.5, 1))
    assert not torch.equal(drop_and_rescale(change, 0.5, 1), drop_and_rescale(change, 0.5, 2))
    assert torch.equal(drop_and_rescale(change, 1.0, 1), change)
