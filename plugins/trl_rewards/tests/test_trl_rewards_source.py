"""The reward source `trl-function`: arguments, sums, abstention, errors, sync and async."""

from __future__ import annotations

import math
import sys
import types

import pytest

from collegium import Abstain, Completion, ConfigError, Error, RewardContext, Sample, Score, Task
from collegium.plugins.registry import Registry
from collegium_trl_rewards.reward import TrlFunctionReward


@pytest.fixture
def rewards(monkeypatch):
    """A module of reward functions, to which a test adds its own."""
    module = types.ModuleType("acme_rewards")
    monkeypatch.setitem(sys.modules, "acme_rewards", module)
    return module


@pytest.fixture
def build():
    made = []

    def make(functions, **options):
        source = TrlFunctionReward({"functions": functions, **options})
        made.append(source)
        source.prepare(RewardContext({}))
        return source

    yield make
    for source in made:
        source.close()


def sample(text, prompt="2+2=", reference="4", **data):
    return Sample(Task("t", prompt, reference, data, "sums"), Completion(text, token_ids=tuple(range(len(text)))))


def length(completions, **kwargs):
    return [float(len(each)) for each in completions]


async def halves(completions, **kwargs):
    return [0.5 for _ in completions]


def test_the_source_is_discovered_with_its_options():
    entry = Registry.discover().find("reward", "trl-function")
    assert entry.id == "collegium-trl-rewards/trl-function"
    assert entry.load().Config is entry.config_class()


def test_a_function_gets_trls_arguments(rewards, build):
    seen = {}

    def spy(prompts, completions, completion_ids=None, trainer_state=None, **columns):
        seen.update(prompts=prompts, completions=completions, completion_ids=completion_ids, state=trainer_state)
        seen.update(columns)
        return [0.0] * len(prompts)

    rewards.spy = spy
    source = build("acme_rewards:spy", columns={"solution": "reference", "kind": "level", "topic": "domain"})
    source.score([sample("4", level="easy"), sample("22", prompt=({"role": "user", "content": "Sum?"},), more=[1])])
    assert callable(seen.pop("log_extra"))
    assert callable(seen.pop("log_metric"))
    assert seen == {
        "prompts": ["2+2=", [{"role": "user", "content": "Sum?"}]],
        "completions": ["4", [{"role": "assistant", "content": "22"}]],
        "completion_ids": [[0], [0, 1]],
        "state": None,
        "reference": ["4", "4"],
        "solution": ["4", "4"],
        "topic": ["sums", "sums"],
        "level": ["easy", None],
        "kind": ["easy", None],
        "more": [None, [1]],
    }


@pytest.mark.parametrize(
    ("layout", "prompt", "expected"),
    [
        ("conversational", "2+2=", ([{"role": "user", "content": "2+2="}], [{"role": "assistant", "content": "4"}])),
        ("standard", ({"role": "user", "content": "Sum?"},), ("Sum?", "4")),
    ],
)
def test_the_format_can_be_forced(rewards, build, layout, prompt, expected):
    seen = []

    def spy(prompts, completions, **kwargs):
        seen.append((prompts[0], completions[0]))
        return [0]

    rewards.spy = spy
    build("acme_rewards:spy", format=layout).score([sample("4", prompt=prompt)])
    assert seen == [expected]


def test_weighted_rewards_are_summed_and_none_leaves_its_term_out(rewards, build):
    rewards.length, rewards.halves = length, halves
    rewards.only_sums = lambda completions, kind, **kw: [2.0 if each == "sum" else None for each in kind]
    source = build(
        [
            {"function": "acme_rewards:length", "weight": 0.1},
            {"function": "acme_rewards:halves", "weight": -1},
            "acme_rewards:only_sums",
        ]
    )
    first, second = source.score([sample("abc", kind="sum"), sample("abc", kind="product")])
    assert math.isclose(first.value, 0.3 - 0.5 + 2.0)
    assert math.isclose(second.value, 0.3 - 0.5)
    assert second.details["rewards"] == {
        "acme_rewards:length": 3.0,
        "acme_rewards:halves": 0.5,
        "acme_rewards:only_sums": None,
    }


def test_a_sample_that_no_function_applies_to_is_an_abstention(rewards, build):
    rewards.none = lambda completions, **kw: [None for _ in completions]
    (verdict,) = build(["acme_rewards:none", "collegium_trl_rewards.functions:exact_match"]).score(
        [sample("4", reference=None)]
    )
    assert isinstance(verdict, Abstain)
    assert "acme_rewards:none" in verdict.reason


@pytest.mark.parametrize("value", [math.nan, math.inf, "1.0", [1.0], 10**400], ids=repr)
def test_a_reward_that_is_no_finite_number_is_an_error_of_its_sample_only(rewards, build, value):
    rewards.odd = lambda completions, **kw: [value, True]
    bad, good = build("acme_rewards:odd").score([sample("4"), sample("5")])
    assert isinstance(bad, Error)
    assert bad.reason.startswith("acme_rewards: acme_rewards:odd returned")
    assert good == Score(1.0, {"rewards": {"acme_rewards:odd": 1.0}})


@pytest.mark.parametrize("returned", [[1.0], [1.0] * 3, 1.0, None, "11", {0: 1.0, 1: 1.0}], ids=repr)
def test_a_result_that_does_not_fit_the_batch_is_an_error_of_every_sample(rewards, build, returned):
    rewards.short = lambda completions, **kw: returned
    verdicts = build("acme_rewards:short").score([sample("4"), sample("5")])
    assert all(isinstance(each, Error) and "acme_rewards:short returned" in each.reason for each in verdicts)


@pytest.mark.parametrize("is_async", [False, True])
def test_an_exception_is_an_error_that_names_function_and_cause_and_is_not_summed_over(rewards, build, is_async):
    def broken(completions, solution, **kwargs):
        return [1.0]

    async def broken_async(completions, solution, **kwargs):
        return [1.0]

    rewards.broken, rewards.length = broken_async if is_async else broken, length
    (verdict,) = build(["acme_rewards:length", "acme_rewards:broken"]).score([sample("4")])
    assert isinstance(verdict, Error)
    assert "acme_rewards:broken raised TypeError" in verdict.reason
    assert "solution" in verdict.reason


def test_async_functions_run_together_on_one_loop_that_outlives_a_call(rewards, build):
    import asyncio

    loops, arrived = [], []

    async def meet(completions, **kwargs):
        """Return only once all of a batch's functions are waiting."""
        loops.append(asyncio.get_running_loop())
        arrived.append(1)
        while len(arrived) % 2:
            await asyncio.sleep(0)
        return [1.0 for _ in completions]

    class Meeting:
        async def __call__(self, completions, **kwargs):
            return await meet(completions)

    rewards.meet, rewards.meeting = meet, Meeting()
    source = build(["acme_rewards:meet", "acme_rewards:meeting"])
    for _ in range(2):
        assert [verdict.value for verdict in source.score([sample("4")])] == [2.0]
    assert len(set(loops)) == 1


def test_a_factory_is_called_with_its_arguments(rewards, build):
    def at_most(limit):
        return lambda completions, **kw: [float(len(each) <= limit) for each in completions]

    rewards.at_most = at_most
    source = build({"function": "acme_rewards:at_most", "arguments": {"limit": 2}})
    assert [verdict.value for verdict in source.score([sample("ab"), sample("abc")])] == [1.0, 0.0]


def test_logged_columns_become_details_and_changed_arguments_harm_nobody(rewards, build):
    def vandal(completions, log_extra, log_metric, steps, **kwargs):
        log_extra("first", [each[0] for each in completions])
        log_metric("mean", 1.0)
        steps[0].clear()
        completions.clear()
        return [0.0, 0.0]

    rewards.vandal, rewards.length = vandal, length
    batch = [sample("abc", steps=["x"]), sample("de", steps=[])]
    verdicts = build(["acme_rewards:vandal", "acme_rewards:length"]).score(batch)
    assert [(verdict.value, verdict.details["first"]) for verdict in verdicts] == [(3.0, "a"), (2.0, "d")]
    assert batch[0].task.data["steps"] == ["x"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone", "has no attribute"),
        ("number", "is a int, expected a function"),
        ("narrow", r"takes no \*\*kwargs"),
        ("Kind", "is a class"),
    ],
)
def test_what_is_no_reward_function_is_refused_before_the_first_batch(rewards, build, name, message):
    rewards.number, rewards.narrow, rewards.Kind = 3, (lambda completions: [1.0]), type("Kind", (), {})
    with pytest.raises(ConfigError, match=message) as caught:
        build(f"acme_rewards:{name}")
    assert caught.value.owner == "acme_rewards"


def test_a_column_that_is_nowhere_or_has_an_arguments_name_fails_the_batch(rewards, build):
    rewards.length = length
    with pytest.raises(LookupError, match=r"no task of the batch has 'gold'; there is level"):
        build("acme_rewards:length", columns={"solution": "gold"}).score([sample("4", level=1)])
    with pytest.raises(ValueError, match="'prompts'"):
        build("acme_rewards:length").score([sample("4", prompts=1)])
    with pytest.raises(ValueError, match="may not be named completions"):
        TrlFunctionReward({"functions": "acme_rewards:length", "columns": {"completions": "id"}})
