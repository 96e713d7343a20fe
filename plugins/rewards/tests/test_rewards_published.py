"""The rewards of published recipes, put together by options and worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from collegium import (
    Abstain,
    Completion,
    Config,
    Error,
    RewardContext,
    RewardSource,
    Sample,
    Score,
    Task,
    Verdict,
    Verifier,
    component,
)
from collegium.testing.reward_context import InstalledParts
from collegium.testing.stages import toy_registry
from collegium_rewards.composed import ComposedReward
from collegium_rewards.length_cost import LengthCost
from collegium_rewards.length_penalty import LengthPenalty


class Count(Verifier):
    """Score the number of times that a letter is in what is shown, a tenth each."""

    class Config(Config):
        letter: str

    def verify(self, completion: Completion, task: Task) -> Verdict:
        return Score(completion.text.count(self.config.letter) / 10)


class Right(Verifier):
    """Score 1 where the answer ends with the reference."""

    def verify(self, completion: Completion, task: Task) -> Verdict:
        return Score(float(completion.text.endswith(task.reference or "?")))


class Liked(RewardSource):
    """A reward model: the share of its model's letter in what is shown."""

    def prepare(self, context: RewardContext) -> None:
        self._letter = context.models[0]

    def score(self, batch: Sequence[Sample]) -> Sequence[Verdict]:
        texts = [sample.completion.text if sample.completion else "" for sample in batch]
        return [Score(text.count(self._letter) / max(len(text), 1)) for text in texts]


REGISTRY = toy_registry(
    [
        ("verifier", component("count", f"{__name__}:Count", "Count a letter.")),
        ("verifier", component("right", f"{__name__}:Right", "Compare with the reference.")),
        ("reward", component("liked", f"{__name__}:Liked", "The share of the model's letter.")),
    ]
)


def prepared(kind: type[Any], models: Sequence[str] = (), **options: Any) -> Any:
    made = kind(options)
    made.prepare(RewardContext({}, models, InstalledParts({}, REGISTRY)))
    return made


def sample(text: str, tokens: int = 1, *, domain: str = "math", mode: str = "", **task: Any) -> Sample:
    return Sample(Task("t", "?", domain=domain, mode=mode, **task), Completion(text, token_ids=(1,) * tokens))


def one(made: Any, *args: Any, **more: Any) -> Any:
    verdict = made.score([sample(*args, **more)])[0]
    return verdict.value if isinstance(verdict, Score) else verdict


def test_deepseek_r1s_last_stage_has_rules_for_reasoning_and_models_for_the_rest_late():
    """Rules and language; helpful on the summary, harmless on the whole; preferences from step 1301 of 1700."""
    made = prepared(
        ComposedReward,
        ["h", "s"],
        per={"math": ["right", "language"], "chat": ["language", "helpful", "harmless"]},
        parts={
            "right": {"verifier": "right"},
            "language": {"verifier": {"use": "count", "letter": "e"}, "before": "</think>"},
            "helpful": {"reward": "liked", "models": [0], "after": "</think>", "from_step": 1301},
            "harmless": {"reward": "liked", "models": [1], "from_step": 1301},
        },
    )
    assert one(made, "eee</think>42", reference="42") == pytest.approx(1 + 0.3)
    text = "hess</think>hhsx"
    assert one(made, text, domain="chat") == pytest.approx(0.1)
    made.after_step(1300, {})
    assert one(made, text, domain="chat") == pytest.approx(0.1 + 2 / 4 + 3 / len(text))
    assert one(made, "eee</think>42", reference="42") == pytest.approx(1 + 0.3)


def test_mais_reward_is_the_task_and_half_the_language_less_a_quarter_of_the_length():
    """``R = R_task + 0.5 R_lang - 0.25 R_len`` with ``R_len = pass rate * length / limit``."""
    parts = {"task": {"verifier": "right"}, "language": {"reward": "foreign-words", "weight": 0.5}}
    made = prepared(LengthCost, reward={"use": "composed", "parts": parts}, max_tokens=100)
    batch = [sample("yes 42", 20, reference="42"), sample("нет 41", 80, reference="42")]
    expected = [1 + 0.5 - 0.25 * 0.5 * 0.2, 0 + 0.5 * 0.995 - 0.25 * 0.5 * 0.8]
    assert [verdict.value for verdict in made.score(batch)] == pytest.approx(expected)


def test_deepseek_v32s_general_reward_is_a_rubric_and_the_others_have_length_and_language():
    made = prepared(
        ComposedReward,
        per={"chat": ["rubric", "language"], "math": ["right", "length", "language"]},
        parts={
            "rubric": {"reward": "rubric"},
            "right": {"verifier": "right"},
            "length": {"reward": {"use": "length-penalty", "price": {"limit": 100}}, "weight": 0.2},
            "language": {"reward": "foreign-words", "weight": 0.1},
        },
    )
    rubric = [{"text": "a year", "pattern": r"\d{4}", "weight": 3}, {"text": "a reason", "pattern": "because"}]
    assert one(made, "in 1848", domain="chat", data={"rubric": rubric}) == pytest.approx(0.75 + 0.1)
    assert one(made, "so 42", 50, reference="42") == pytest.approx(1 - 0.2 * 0.5 + 0.1)


MODES = {
    "non-think": {"limit": 20, "weight": 1.0},
    "high": {"limit": 100, "free": 50, "weight": 0.5},
    "max": {"limit": 400, "free": 300, "weight": 0.5},
}


@pytest.mark.parametrize(
    ("mode", "tokens", "penalty"),
    [
        ("non-think", 10, 0.5),
        ("non-think", 20, 1.0),
        ("non-think", 30, 1.0),
        ("high", 50, 0.0),
        ("high", 75, 0.25),
        ("max", 300, 0.0),
        ("max", 1000, 0.5),
    ],
)
def test_deepseek_v4s_efforts_have_a_length_penalty_each(mode, tokens, penalty):
    parts = {"right": {"verifier": "right"}, "length": {"reward": {"use": "length-penalty", "modes": MODES}}}
    made = prepared(ComposedReward, parts=parts)
    assert one(made, "42", tokens, mode=mode, reference="42") == pytest.approx(1 - penalty)


def test_a_mode_without_a_price_is_an_error_and_names_those_that_have_one():
    verdict = one(prepared(LengthPenalty, modes=MODES), "42", 10, mode="higher")
    assert isinstance(verdict, Error)
    assert "the mode 'higher'; length-penalty has a price for 'non-think', 'high', 'max'" in verdict.reason
    assert isinstance(one(prepared(LengthPenalty, price={"limit": 9}), "42", 0), Error)


def test_a_length_penalty_with_a_late_start_is_dapos_overlong_penalty():
    made = prepared(LengthPenalty, price={"limit": 20480, "free": 16384})
    assert [one(made, "x", tokens) for tokens in (16384, 18432, 20480, 30000)] == [0, -0.5, -1, -1]


def test_a_part_may_count_in_some_modes_only():
    parts = {"right": {"verifier": "right"}, "short": {"verifier": {"use": "count", "letter": "x"}, "modes": ["think"]}}
    made = prepared(ComposedReward, parts=parts)
    assert one(made, "xx 4", mode="think", reference="4") == pytest.approx(1.2)
    assert one(made, "xx 4", mode="non-think", reference="4") == 1.0
    alone = prepared(ComposedReward, parts={"short": parts["short"]})
    verdict = one(alone, "xx", mode="max")
    assert isinstance(verdict, Abstain)
    assert "no part counts in step 1 for domain 'math' in mode 'max'" in verdict.reason


def test_tulu_3s_verified_reward_is_ten():
    """The penalty of a missing end of sequence is the stage's: ``ppo: {missing_eos: -10}``, or of the term `outcome`."""
    made = prepared(ComposedReward, parts={"right": {"verifier": "right", "weight": 10}})
    assert [one(made, text, reference="42") for text in ("= 42", "= 41")] == [10, 0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "either price, for all tasks, or modes"),
        ({"price": {"limit": 9}, "modes": MODES}, "either price, for all tasks, or modes"),
        ({"price": {"limit": 9, "free": 9}}, "9 tokens are free, and all is lost at 9"),
        ({"price": {"limit": 0}}, "limit"),
        ({"modes": {"think": {}}}, "limit"),
    ],
)
def test_wrong_prices_are_refused_with_the_reason(options, said):
    with pytest.raises(ValidationError, match=said):
        LengthPenalty(options)
