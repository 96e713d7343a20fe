"""The reward `composed`: what is asked, what is left out, and who owns an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from collegium import (
    Abstain,
    Completion,
    Config,
    ConfigError,
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
from collegium.errors import VerifierError
from collegium.job import ErrorPolicy
from collegium.judge import RewardJudge
from collegium.testing.reward_context import InstalledParts
from collegium.testing.stages import toy_registry
from collegium_rewards.composed import ComposedReward
from collegium_rewards.composed_config import ComposedConfig

SEEN: list[tuple[str, str]] = []
"""Word and completion of everything that was asked."""


class Says(Verifier):
    """Score what follows the word in the completion; ``?`` abstains and ``!`` errs."""

    class Config(Config):
        word: str
        """Such as ``a``, for which the completion ``a=0.5 b=?`` scores 0.5."""

    def verify(self, completion: Completion, task: Task) -> Verdict:
        SEEN.append((self.config.word, completion.text))
        said = dict(pair.split("=") for pair in completion.text.split())[self.config.word]
        if said == "?":
            return Abstain("no idea")
        return Error("broken") if said == "!" else Score(float(said))


class Models(RewardSource):
    """Score by the number in the name of the first model."""

    def prepare(self, context: RewardContext) -> None:
        self._value = float(context.models[0])

    def score(self, batch: Sequence[Sample]) -> Sequence[Verdict]:
        return [Score(self._value)] * len(batch)


REGISTRY = toy_registry(
    [
        ("verifier", component("says", f"{__name__}:Says", "Score what is said.")),
        ("reward", component("models", f"{__name__}:Models", "Score by the model's name.")),
    ]
)
A = {"verifier": {"use": "says", "word": "a"}}
B = {"verifier": {"use": "says", "word": "b"}}


@pytest.fixture(autouse=True)
def _nothing_seen():
    SEEN.clear()


def source(models: Sequence[str] = (), policy: ErrorPolicy | None = None, **options: Any) -> ComposedReward:
    made = ComposedReward(options)
    parts = InstalledParts({}, REGISTRY, policy)
    made.prepare(RewardContext({}, models, parts))
    return made


def sample(text: str, domain: str = "chat", **data: Any) -> Sample:
    return Sample(Task("t", "?", data=data, domain=domain), Completion(text, token_ids=(1, 2)))


def one(made: ComposedReward, text: str, domain: str = "chat", **data: Any) -> Any:
    verdict = made.score([sample(text, domain, **data)])[0]
    return verdict.value if isinstance(verdict, Score) else verdict


def test_a_weighted_sum_keeps_its_parts_and_their_means():
    made = source(parts={"a": A, "b": {**B, "weight": -0.5}})
    verdicts = made.score([sample("a=1 b=0.5"), sample("a=0 b=1")])
    assert [each.value for each in verdicts] == [0.75, -0.5]
    assert verdicts[0].details == {"parts": {"a": 1.0, "b": 0.5}}
    assert made.after_step(1, {}) == {"part/a": 0.5, "part/b": 0.75}
    assert made.after_step(2, {}) == {}


def test_a_closed_gate_counts_alone_and_the_others_are_not_asked():
    made = source(parts={"b": B, "a": {**A, "weight": 0.1}}, combine="gated", gate="a", threshold=0.5)
    assert one(made, "a=1 b=0.8") == pytest.approx(0.9)
    SEEN.clear()
    assert one(made, "a=0.4 b=0.8") == pytest.approx(0.04)
    assert [word for word, _ in SEEN] == ["a"]


def test_llama_2s_reward_is_piecewise():
    made = source(parts={"a": A, "b": B}, combine="piecewise", gate="a", safety_domains=["harm"])
    assert one(made, "a=0.9 b=0.3") == 0.3
    assert one(made, "a=0.1 b=0.3") == 0.1
    assert one(made, "a=0.9 b=0.3", domain="harm") == 0.9
    assert one(made, "a=0.9 b=0.3", is_safety=True) == 0.9


def test_whitening_is_over_the_scores_of_the_batch():
    made = source(parts={"a": A}, output="whitened")
    verdicts = made.score([sample("a=0"), sample("a=?"), sample("a=1")])
    assert isinstance(verdicts[1], Abstain)
    assert [verdicts[0].value, verdicts[2].value] == [-1.0, 1.0]


def test_each_domain_has_its_parts_and_one_that_is_not_named_is_an_error():
    made = source(parts={"a": A, "b": B}, per={"math": ["a"], "chat": ["a", "b"]})
    assert one(made, "a=0.5 b=0.25", domain="math") == 0.5
    assert one(made, "a=0.5 b=0.25", domain="chat") == 0.75
    verdict = one(made, "a=0.5 b=0.25", domain="law")
    assert isinstance(verdict, Error)
    assert "no parts for domain 'law', only math, chat" in verdict.reason


def test_a_gate_that_does_not_count_in_a_domain_lets_the_others_through():
    made = source(parts={"a": A, "b": B}, combine="gated", gate="a", per={"math": ["b"], "chat": ["a", "b"]})
    assert one(made, "a=0 b=0.25", domain="math") == 0.25
    assert one(made, "a=0 b=0.25", domain="chat") == 0.0


def test_a_part_counts_from_its_step_on_and_a_resumed_source_knows_the_step():
    options = {"parts": {"a": A, "b": {**B, "from_step": 3, "until_step": 3}}}
    made = source(**options)
    seen = []
    for step in range(1, 5):
        seen.append(one(made, "a=0.5 b=0.25"))
        state = made.state_dict()
        made.after_step(step, {})
    assert seen == [0.5, 0.5, 0.75, 0.5]
    assert state == {"step": 4}
    resumed = source(**options)
    resumed.load_state_dict({"step": 3})
    assert one(resumed, "a=0.5 b=0.25") == 0.75
    late = source(parts={"a": {**A, "from_step": 3}})
    assert isinstance(one(late, "a=1"), Abstain)


def test_a_part_without_an_opinion_leaves_the_whole_without_one_or_is_skipped():
    whole, skip = (source(parts={"a": A, "b": B}, abstain=how) for how in ("whole", "skip"))
    assert isinstance(one(whole, "a=1 b=?"), Abstain)
    assert one(skip, "a=1 b=?") == 1.0
    assert isinstance(one(skip, "a=? b=?"), Abstain)
    product = source(parts={"a": A, "b": B}, combine="product", abstain="skip")
    assert one(product, "a=0.5 b=?") == 0.5


@pytest.mark.parametrize("combine", ["gated", "piecewise"])
def test_a_gate_without_an_opinion_never_opens(combine):
    made = source(parts={"a": A, "b": B}, combine=combine, gate="a", abstain="skip")
    assert isinstance(one(made, "a=? b=1"), Abstain)
    assert [word for word, _ in SEEN] == ["a"]


def test_a_parts_error_is_an_error_of_its_distribution():
    made = source(parts={"a": A, "b": B})
    verdict = one(made, "a=1 b=!")
    assert verdict == Error("part 'b': broken", "collegium-toy")


def test_a_parts_error_is_charged_to_its_own_budget_and_not_to_the_composed_one():
    made = source(policy=ErrorPolicy(budget=0.1, grace=1), parts={"a": A})
    judge = RewardJudge(made, owner="collegium-rewards", name="composed", policy=ErrorPolicy(budget=0.0, grace=1))
    with pytest.raises(VerifierError, match="collegium-toy/says spent its error budget") as caught:
        judge.judge([sample("a=!")])
    assert caught.value.owner == "collegium-toy"
    tolerant = source(parts={"a": A})
    judge = RewardJudge(tolerant, owner="collegium-rewards", name="composed", policy=ErrorPolicy(budget=0.0, grace=1))
    assert judge.judge([sample("a=!")])[0].owner == "collegium-toy"
    assert judge.errors == 0


def test_a_part_sees_only_what_it_is_meant_to_see():
    answer = {**A, "after": "</think>"}
    thought = {**B, "before": "</think>"}
    made = source(parts={"a": answer, "b": thought})
    assert one(made, "b=0.25 </think>a=1") == 1.25
    assert SEEN == [("a", "a=1"), ("b", "b=0.25 ")]
    SEEN.clear()
    one(source(parts={"a": answer}), "a=1 and no answer")
    assert SEEN == [("a", "")]  # no answer was given: nothing is seen, and not the thought


def test_parts_get_the_models_that_they_name():
    parts = {"x": {"reward": "models", "models": [1]}, "y": {"reward": "models", "models": [0], "weight": 10}}
    assert ComposedConfig(parts=parts).models_needed() == 2
    assert one(source(["3", "4"], parts=parts), "") == 34.0
    with pytest.raises(ConfigError, match="score with 2 reward models, found 1"):
        source(["3"], parts=parts)


def test_a_composed_reward_may_be_a_part():
    inner = {"reward": {"use": "composed", "parts": {"a": A, "b": B}, "combine": "product"}, "weight": 2}
    assert one(source(parts={"both": inner, "a": A}), "a=0.5 b=0.5") == 1.0


def test_an_empty_batch_is_scored():
    assert list(source(parts={"a": A}, output="whitened").score([])) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"parts": {}}, "parts"),
        ({"parts": {"a": {}}}, "either a reward or a verifier"),
        ({"parts": {"a": {**A, "reward": "domain-verifier"}}}, "either a reward or a verifier"),
        ({"parts": {"a": {**A, "after": "x", "before": "y"}}}, "one of the two"),
        ({"parts": {"a": {**A, "from_step": 3, "until_step": 2}}}, "never counts"),
        ({"parts": {"a": A}, "per": {"math": ["b"]}}, "per names b, the parts are a"),
        ({"parts": {"a": A}, "per": {"math": ["a", "a"]}}, "name each part once"),
        ({"parts": {"a": A, "b": B}, "combine": "gated"}, "set gate to one of a, b"),
        ({"parts": {"a": A, "b": B}, "gate": "a"}, "leave gate out"),
        ({"parts": {"a": A, "b": B}, "combine": "gated", "gate": "c"}, "'c' is no part"),
        ({"parts": {"a": A}, "combine": "piecewise", "gate": "a"}, "chooses between two parts"),
        ({"parts": {"a": {**A, "weight": 2}}, "combine": "product"}, "takes no weights"),
        ({"parts": {"a": {**A, "models": [1]}}}, "must be 0, 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, said):
    with pytest.raises(ValidationError, match=said):
        ComposedConfig(**options)
