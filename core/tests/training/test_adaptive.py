"""Components that adapt, parts of reward sources, and engines around engines, as the stage context treats them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from collegium import Engine, PluginError, RewardContext, RewardSource, Sample, Score, Verdict, component
from collegium.component import Use
from collegium.job import StageEvent
from collegium.testing.stages import TOY, toy_domain, toy_job, toy_registry
from collegium.training.context import StageContext

TOY_VERIFIER = Use(use=f"{TOY}/toy")


class Counting(RewardSource):
    """Counts the steps that it is told of."""

    steps = 0

    def after_step(self, step: int, metrics: Mapping[str, float]) -> Mapping[str, float]:
        self.steps += 1
        return {"seen/loss": metrics["loss"]}

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.steps = state["steps"]


class Whole(RewardSource):
    """Has two parts of one component, one of another, and is told of the models."""

    def prepare(self, context: RewardContext) -> None:
        self.parts = [context.build(TOY_VERIFIER, "verifier") for _ in range(2)]
        self.parts.append(context.build(Use(use=f"{TOY}/counting"), "reward", ["a"]))

    def score(self, batch: Sequence[Sample]) -> Sequence[Verdict]:
        return [Score(1.0)] * len(batch)


class Around(Engine):
    """An engine with another one inside."""

    def prepare(self, build: Any) -> None:
        self.inner = build(Use(use="collegium/transformers"), "engine")


REGISTRY = toy_registry(
    [
        ("reward", component("counting", f"{__name__}:Counting", "Count steps.")),
        ("reward", component("whole", f"{__name__}:Whole", "Have parts.")),
        ("engine", component("around", f"{__name__}:Around", "Hold another.")),
    ]
)


@pytest.fixture
def events() -> list[StageEvent]:
    return []


@pytest.fixture
def context(tmp_path, events) -> StageContext:
    job = toy_job("collegium-grpo/grpo", {}, tmp_path / "t", domains=[toy_domain("copy")])
    return StageContext(job, REGISTRY, events.append)


def test_a_component_sees_each_step_and_its_figures_are_in_the_journal(context, events):
    source = context.build_reward(Use(use=f"{TOY}/counting")).source
    context.emit(1, 2, {"loss": 0.5})
    assert source.steps == 1
    assert events[-1].metrics == {"loss": 0.5, "seen/loss": 0.5}


def test_parts_have_budgets_and_states_of_their_own_in_the_checkpoint(context):
    whole = context.build_reward(Use(use=f"{TOY}/whole")).source
    context.emit(1, 2, {"loss": 0.5})
    names = {name for name in context.budgets if not name.startswith("domain")}
    assert names == {
        f"state of reward {TOY}/whole",
        f"reward {TOY}/whole",
        f"part {TOY}/toy",
        f"part {TOY}/toy #2",
        f"state of reward {TOY}/counting",
        f"part {TOY}/counting",
    }
    assert context.budgets[f"state of reward {TOY}/counting"].state_dict() == {"steps": 1}
    assert [part.owner for part in whole.parts] == [TOY] * 3


def test_an_engine_builds_the_one_inside_it(context):
    assert type(context.build(Use(use=f"{TOY}/around"), "engine").inner).__name__ == "TransformersEngine"


def test_a_context_made_by_hand_builds_no_parts():
    with pytest.raises(PluginError, match="nothing here builds the verifier"):
        RewardContext({}).build(TOY_VERIFIER, "verifier")
