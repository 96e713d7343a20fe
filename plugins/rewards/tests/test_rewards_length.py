"""Controls of length, and the language reward: by hand, and what they keep between steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from collegium import Completion, ConfigError, Error, RewardSource, Sample, SamplingParams, Score, Task, Use, component
from collegium.testing.reward_context import InstalledParts
from collegium.testing.stages import toy_registry
from collegium_rewards.configs import CurriculumConfig, ForeignWordsConfig
from collegium_rewards.curriculum import LengthCurriculum, limit_at
from collegium_rewards.foreign_words import ForeignWords
from collegium_rewards.length_cost import LengthCost, length_costs
from collegium_rewards.toggle import ToggleLength, is_limited, percentile, within_budget


class Written(RewardSource):
    """Score the number that is written; anything else is an error."""

    def score(self, batch: Sequence[Sample]) -> Sequence[Any]:
        return [_number(sample.completion.text if sample.completion else "") for sample in batch]


def _number(text: str) -> Any:
    try:
        return Score(float(text))
    except ValueError:
        return Error("no number")


REGISTRY = toy_registry([("reward", component("written", f"{__name__}:Written", "Score what is written."))])


def group(task: str, *items: tuple[str, int], number: int = 0) -> list[Sample]:
    """Completions of one prompt: text and tokens."""
    return [Sample(Task(task, task), Completion(text, token_ids=(1,) * tokens), number) for text, tokens in items]


def prepared(kind: type[Any], **options: Any) -> Any:
    made = kind({"reward": "written", **options})
    made.prepare(InstalledParts({}, REGISTRY).context)
    return made


def values(verdicts: Sequence[Any]) -> list[Any]:
    return [each.value if isinstance(each, Score) else type(each).__name__ for each in verdicts]


def test_phases_alternate_beginning_with_the_budget():
    assert [is_limited(step, 2) for step in range(1, 9)] == [True, True, False, False] * 2


def test_a_percentile_lies_between_its_neighbours():
    assert percentile([10, 20, 30], 50) == 20
    assert percentile([10, 20], 75) == 17.5
    assert percentile([7], 80) == 7
    assert percentile([3, 1, 2], 100) == 3


def test_the_budget_holds_only_where_the_mean_reaches_the_threshold():
    assert within_budget([1, 1, 0, 1], [5, 9, 5, 6], budget=6, accuracy=0.75) == [1, 0.0, 0, 1]
    assert within_budget([1, 0, 0, 1], [5, 9, 5, 9], budget=6, accuracy=0.75) == [1, 0, 0, 1]
    assert within_budget([-1, 1], [9, 5], budget=6, accuracy=0) == [-1, 1]  # being long raises no score


def test_a_problems_budget_is_that_of_its_first_correct_completions_for_good():
    made = prepared(ToggleLength, period=1, accuracy=0.5, percentile=50)
    assert values(made.score(group("x", ("1", 2), ("1", 4), ("1", 6), ("0", 1)))) == [1, 1, 0, 0]
    assert made.after_step(1, {}) == {"toggle/limited": 1.0, "toggle/over_budget": 0.25}
    assert values(made.score(group("x", ("1", 3), ("1", 9)))) == [1, 1]  # a phase without budgets
    assert made.after_step(2, {}) == {"toggle/limited": 0.0, "toggle/over_budget": 0.0}
    # Percentile 50 of 3 and 9 would be 6; the budget stays 4.
    assert values(made.score(group("x", ("1", 3), ("1", 5)))) == [1, 0]


def test_problems_have_budgets_of_their_own_and_a_hard_one_has_none_yet():
    made = prepared(ToggleLength, period=9, accuracy=0.5, percentile=100)
    batch = [*group("x", ("1", 2), ("1", 3)), *group("y", ("0", 5), ("0", 9), number=1)]
    assert values(made.score(batch)) == [1, 1, 0, 0]
    assert made.state_dict() == {"step": 1, "budgets": {"x": 3.0}}
    assert values(made.score(group("y", ("1", 8), ("0", 9)))) == [1, 0]
    assert made.state_dict()["budgets"] == {"x": 3.0, "y": 8.0}


def test_a_resumed_toggle_keeps_budgets_and_phase():
    made, resumed = (prepared(ToggleLength, period=2, accuracy=0.5, percentile=50) for _ in range(2))
    made.score(group("x", ("1", 2), ("1", 4)))
    made.after_step(1, {})
    resumed.load_state_dict(made.state_dict())
    for step in (2, 3):
        batch = group("x", ("1", 3), ("1", 4))
        assert values(made.score(batch)) == values(resumed.score(batch)) == [1, 0 if step == 2 else 1]
        assert made.after_step(step, {}) == resumed.after_step(step, {})


def test_what_has_no_score_is_in_no_mean_and_what_has_no_tokens_no_length():
    made = prepared(ToggleLength, period=1, accuracy=0.9, percentile=50)
    verdicts = made.score([*group("x", ("1", 2), ("oops", 9), ("1", 4)), Sample(Task("x", "x"), Completion("1"))])
    assert values(verdicts) == [1, "Error", 0, "Error"]
    assert verdicts[1].owner == "collegium-toy"
    assert "no token ids" in verdicts[3].reason


def test_length_costs_more_the_easier_the_problem():
    assert length_costs([100, 50], 0.5, 200) == [0.25, 0.125]
    made = prepared(LengthCost, weight=0.25, max_tokens=10)
    easy, hard = group("x", ("1", 10), ("1", 4)), group("y", ("0", 10), ("1", 4), ("0", 2), ("0", 2), number=1)
    assert values(made.score(easy)) == pytest.approx([0.75, 0.9])
    assert values(made.score(hard)) == pytest.approx([-0.0625, 1 - 0.025, -0.0125, -0.0125])


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        ("plain words, and 12 numbers: x = π r²", 0),
        ("naïve café", 0),
        ("the слово is foreign", 1),
        ("two 汉字 here", 2),
        ("μῆκος is a word, μ is not", 1),
        ("", 0),
        ("mixедup", 1),
    ],
)
def test_words_of_other_scripts_are_counted(text, foreign):
    verdict = ForeignWords().score([Sample(Task("t", "?"), Completion(text))])[0]
    assert verdict.details["foreign"] == foreign
    assert verdict.value == pytest.approx(1 - 0.005 * foreign)


def test_the_language_reward_does_not_fall_below_zero():
    verdict = ForeignWords({"penalty": 0.5}).score([Sample(Task("t", "?"), Completion("и и и"))])[0]
    assert verdict.value == 0.0
    with pytest.raises(ValidationError, match="no script 'Elvish'"):
        ForeignWordsConfig(scripts=["Elvish"])


def test_other_scripts_can_be_asked_for():
    verdict = ForeignWords({"scripts": ["Han"]}).score([Sample(Task("t", "?"), Completion("汉字 word"))])[0]
    assert verdict.details == {"foreign": 1, "words": 3}


def test_the_limit_that_holds_is_the_last_that_began():
    assert [limit_at({1: 8, 3: 16}, step) for step in (1, 2, 3, 9)] == [8, 8, 16, 16]


@pytest.mark.parametrize("limits", [{2: 8}, {1: 8, 2: 8}, {1: 16, 2: 8}, {}])
def test_a_curriculum_begins_at_once_and_grows(limits):
    with pytest.raises(ValidationError):
        CurriculumConfig(limits=limits)


class Recorder:
    """Stands for an engine, to see what it is asked."""

    in_flight = records_kept = reads_images = True

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def sync(self, policy: Any, version: int) -> None:
        self.asked.append(version)

    def generate(self, prompts: Any, sampling: SamplingParams, seeds: Any) -> list[Any]:
        self.asked.append((prompts, sampling, seeds))
        return []


def test_the_engine_inside_gets_the_steps_limit_and_all_else_as_it_is():
    inner, built = Recorder(), []

    def build(use: Use, kind: str) -> Recorder:
        built.append((use.use, kind))
        return inner

    engine = LengthCurriculum({"limits": {1: 4, 3: 8}})
    engine.prepare(build)
    assert built == [("collegium/transformers", "engine")]
    assert engine.in_flight
    assert engine.records_kept
    for version, limit in ((0, 4), (1, 4), (2, 8)):
        engine.sync(None, version)
        engine.generate([[1]], SamplingParams(max_tokens=8), [5])
        assert inner.asked[-2:] == [version, ([[1]], SamplingParams(max_tokens=limit), [5])]
    with pytest.raises(ConfigError, match=r"reaches 8 tokens, and sampling\.max_tokens is 6"):
        engine.generate([[1]], SamplingParams(max_tokens=6), [5])
    with pytest.raises(ConfigError, match="was not prepared"):
        LengthCurriculum({"limits": {1: 4}}).sync(None, 0)
