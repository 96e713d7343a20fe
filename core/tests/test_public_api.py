"""The public API: what a plugin may rely on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import get_args

import pytest

import collegium
from collegium import (
    API,
    CollegiumError,
    Component,
    Config,
    Configurable,
    Executor,
    Kind,
    Message,
    Task,
    UseAdvantage,
    UseEngine,
    UseEnvironment,
    UseLoss,
    UseReward,
    UseRouter,
    UseSampler,
    UseTeacher,
    UseVerifier,
    UseWeighter,
    component,
)
from collegium.planning.resolve import Resolver
from collegium.plugins import Registry
from collegium.recipe.source import SourceMap


class HoldsUses(Config):
    """Options that name a component of each kind that options may name."""

    advantage: UseAdvantage | None = None
    engine: UseEngine | None = None
    environment: UseEnvironment | None = None
    loss: UseLoss | None = None
    reward: UseReward | None = None
    router: UseRouter | None = None
    sampler: UseSampler | None = None
    teacher: UseTeacher | None = None
    verifier: UseVerifier | None = None
    weighter: UseWeighter | None = None


def test_importing_the_api_imports_no_torch():
    code = "import collegium, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_all_names_exist_and_are_sorted_without_repeats():
    assert all(hasattr(collegium, name) for name in collegium.__all__)
    assert len(set(collegium.__all__)) == len(collegium.__all__)


def test_every_error_of_the_framework_has_one_root():
    errors = [value for name in collegium.__all__ if isinstance(value := getattr(collegium, name), type) and issubclass(value, Exception)]  # fmt: skip
    assert len(errors) >= 10
    for error in errors:
        made = error("what happened", fix="do this", owner="acme-units")
        assert isinstance(made, CollegiumError)
        assert (made.owner, made.problems[0].fix) == ("acme-units", "do this")


@pytest.mark.parametrize("kind", sorted(HoldsUses.model_fields))
def test_an_option_that_names_a_component_is_looked_up_among_its_kind(kind):
    assert kind in get_args(Kind)
    resolver = Resolver(Registry.discover(), SourceMap())
    resolver.dump(HoldsUses(**{kind: {"use": "nothing-of-this-name"}}), ("stages", "x"))
    (problem,) = resolver.problems
    assert f"unknown {kind} 'nothing-of-this-name'" in problem.what


def test_a_component_is_described_without_being_imported():
    made = component("units", "no_such_module:Units", "Quantities.")
    assert isinstance(made, Component)
    assert made.target == "no_such_module:Units"


def test_a_configurable_validates_its_options_and_refuses_unknown_ones():
    class Gain(Configurable):
        class Config(Config):
            gain: float = 1.0

    assert Gain({"gain": 2}).config.gain == 2.0
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        Gain({"gian": 2})


def test_an_executor_runs_one_stage_at_a_time_unless_it_says_otherwise():
    assert Executor().slots == 1


def test_a_prompt_is_text_or_messages():
    chat: Sequence[Message] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}]
    assert Task("a", tuple(chat)).prompt_text == "Be brief.\n\n1+1?"
    assert Task("b", "1+1?").prompt_text == "1+1?"
    assert isinstance(chat[0], Mapping)


def test_the_contract_has_one_version_and_another_is_refused(make_plugin):
    make_plugin("acme-future", plugin=f"collegium_api = {API + 1}")
    record = Registry.discover().record("acme-future")
    assert record is not None
    assert record.status == "failed"
    assert "upgrade collegium" in record.cause
