"""Dynamic sampling, and the window of difficulty."""

import random

import pytest

from collegium import Task
from collegium_grpo.samplers import Dynamic, PassRate

NAN = float("nan")


@pytest.mark.parametrize(
    ("rewards", "kept"),
    [
        ([1.0, 0.0, 1.0], True),
        ([1.0, 1.0, 1.0], False),
        ([0.0, 0.0], False),
        ([1.0, NAN, 1.0], False),
        ([1.0, NAN, 0.0], True),
        ([1.0], False),
        ([NAN, NAN], False),
        ([], False),
    ],
)
def test_groups_are_kept_exactly_when_their_scored_samples_differ(rewards, kept):
    assert Dynamic().keep(rewards) is kept


def test_rewards_within_the_spread_are_alike():
    assert not Dynamic({"spread": 0.1}).keep([0.5, 0.55])
    assert Dynamic({"spread": 0.1}).keep([0.5, 0.65])


@pytest.mark.parametrize(
    ("correct", "of", "kept"),
    [(0, 16, False), (1, 20, True), (1, 21, False), (8, 16, True), (4, 5, True), (13, 16, False), (16, 16, False)],
)
def test_prompts_are_kept_whose_share_of_correct_completions_is_in_the_window(correct, of, kept):
    assert PassRate().keep([1.0] * correct + [0.3] * (of - correct)) is kept


def test_what_is_correct_and_the_window_are_options_and_no_score_is_no_share():
    assert PassRate({"low": 0.5, "high": 1.0, "pass_at": 0.3}).keep([0.3, 0.2])
    assert PassRate().keep([1.0, 0.0, NAN, NAN])
    assert not PassRate().keep([NAN])
    assert not PassRate({"low": 0.0}).keep([])
    with pytest.raises(ValueError, match="which are none"):
        PassRate({"low": 0.9})


def test_a_resumed_sampler_draws_what_it_would_have_drawn():
    pools = {name: [Task(f"{name}{index}", "?", domain=name) for index in range(5)] for name in ("math", "code")}
    first, resumed = Dynamic(), Dynamic()
    first.start(pools)
    resumed.start(pools)
    drawn = first.draw(6, random.Random(1))
    assert {task.domain for task in drawn} == {"math", "code"}
    resumed.load_state_dict(first.state_dict())
    assert resumed.draw(7, random.Random(2)) == first.draw(7, random.Random(2))
