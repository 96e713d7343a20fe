"""The samplers `shuffled` and `stratified`."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from collegium import ConfigError, DataError, Task
from collegium.builtin_components.samplers import ShuffledSampler, StratifiedSampler


def pools(**sizes: int) -> dict[str, list[Task]]:
    return {name: [Task(f"{name}{i}", "", domain=name) for i in range(size)] for name, size in sizes.items()}


def test_shuffled_deals_every_task_once_before_any_comes_again():
    sampler = ShuffledSampler()
    sampler.start(pools(a=7, b=3))
    drawn = [task.id for step in range(5) for task in sampler.draw(4, random.Random(step))]
    assert len(set(drawn[:10])) == 10
    assert set(drawn[:10]) == set(drawn[10:20])
    assert drawn[:10] != drawn[10:20]


@pytest.mark.parametrize("kind", [ShuffledSampler, StratifiedSampler])
def test_a_restored_sampler_draws_what_it_would_have_drawn(kind):
    whole, first, second = kind(), kind(), kind()
    for sampler in (whole, first, second):
        sampler.start(pools(a=7, b=5, c=2))
    expected = [whole.draw(4, random.Random(step)) for step in range(9)]
    begun = [first.draw(4, random.Random(step)) for step in range(5)]
    second.load_state_dict(first.state_dict())
    assert begun + [second.draw(4, random.Random(step)) for step in range(5, 9)] == expected


def test_stratified_gives_every_domain_the_same_number_whatever_its_size():
    sampler = StratifiedSampler()
    sampler.start(pools(a=100, b=3, c=10))
    counts = Counter(task.domain for task in sampler.draw(30, random.Random(0)))
    assert counts == {"a": 10, "b": 10, "c": 10}


def test_stratified_pays_later_what_rounding_owes():
    sampler = StratifiedSampler({"shares": {"a": 5, "b": 2, "c": 1}})
    sampler.start(pools(a=50, b=50, c=50))
    draws = [sampler.draw(3, random.Random(step)) for step in range(80)]
    assert all(len(draw) == 3 for draw in draws)
    assert Counter(task.domain for draw in draws for task in draw) == {"a": 150, "b": 60, "c": 30}


@pytest.mark.parametrize("shares", [{"a": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 1.0, "b": 0.0}])
def test_shares_must_name_the_stages_domains(shares):
    with pytest.raises(ConfigError, match=r"must give each of the stage's domains \(a, b\) a positive share"):
        StratifiedSampler({"shares": shares}).start(pools(a=2, b=2))


def test_an_empty_pool_is_an_error_that_names_the_domain():
    with pytest.raises(DataError, match="no training task in 'b'"):
        ShuffledSampler().start(pools(a=2, b=0))
