"""Episodes: token in, token out, how they end, and environments that fail."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from collegium import (
    Environment,
    EnvironmentConfig,
    Episode,
    Generation,
    SamplingParams,
    Task,
    VerifierError,
)
from collegium.builtin_components.engine import TransformersEngine
from collegium.environment_host import LONGEST_REPLY, EnvironmentHost
from collegium.job import ErrorPolicy
from collegium.kinds.engine import Engine
from collegium.task import Sample
from collegium.testing.stages import TOY_MODEL, toy_model
from collegium.testing.toy_domain import ALPHABET, ToyEnvironment
from collegium.training.batch import collate
from collegium.training.episodes import Played, play, settle
from collegium.training.generation import to_completion
from collegium.training.initialise import initialise
from collegium.training.language_model import LanguageModel
from collegium.training.model_spec import ModelSpec
from collegium.training.shared_prompts import share_prompts
from collegium.training.tokenizers import encode_prompt
from collegium.verdict import Abstain, Error

TASK = Task("t", "#abc=", "abc", domain="desk")


class Scripted(Engine):
    """An engine that says what the test wrote, turn by turn, and remembers what it was asked."""

    def __init__(self, *turns: Sequence[int], versions: Sequence[int] = (7, 7, 7, 7, 7, 7, 7, 7)) -> None:
        super().__init__()
        self.turns = list(turns)
        self.versions = list(versions)
        self.asked: list[tuple[list[int], int, int]] = []

    def sync(self, policy: LanguageModel, version: int) -> None:
        """Take nothing."""

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: SamplingParams, seeds: Sequence[int]
    ) -> Sequence[Generation]:
        made = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            self.asked.append((list(prompt), sampling.max_tokens, seed))
            turn = self.turns.pop(0)[: sampling.max_tokens]
            values = tuple(-0.1 * (index + 1) for index in range(len(turn)))
            ended = "stop" if turn[-1] == 1 else "length"
            made.append(Generation(tuple(turn), values, ended, self.versions.pop(0)))
        return made


class Says(Environment):
    """An environment whose episodes do what the test wrote."""

    timeout_s = 2.0

    def __init__(self, reply: Callable[[str], Any], **options: Any) -> None:
        super().__init__(EnvironmentConfig(**options))
        self.reply = reply
        self.closed = 0

    def open(self, task: Task) -> Episode:
        environment = self

        class Talk(Episode):
            def reply(self, text: str) -> Any:
                return environment.reply(text)

            def close(self) -> None:
                environment.closed += 1

        return Talk()


def host_of(environment: Environment, policy: ErrorPolicy | None = None) -> EnvironmentHost:
    return EnvironmentHost(environment, owner="acme-desk", name="desk", policy=policy or ErrorPolicy(), domain="desk")


@pytest.fixture(scope="module")
def policy() -> LanguageModel:
    """A model one of whose tokens is two letters, so that ids and text do not determine each other."""
    spec = {**TOY_MODEL, "tokenizer": {"characters": ALPHABET, "tokens": ["ab"]}}
    return initialise(ModelSpec(**spec), 0)


def ids(policy: LanguageModel, text: str) -> list[int]:
    """Return one id per character."""
    return [policy.tokenizer.convert_tokens_to_ids(letter) for letter in text]


def played(
    policy: LanguageModel, engine: Engine, environment: Environment, *, max_tokens: int = 20, task: Task = TASK
) -> Played:
    prompt = encode_prompt(policy.tokenizer, task.prompt)
    sampling = SamplingParams(max_tokens=max_tokens)
    (found,) = play(engine, policy, [task], [prompt], sampling, [3], {"desk": host_of(environment)})
    return found


def answering(*replies: str | None) -> Callable[[str], str | None]:
    left = list(replies)
    return lambda text: left.pop(0)


def test_what_the_model_sampled_is_never_tokenised_again(policy):
    a, b, double = *ids(policy, "ab"), policy.tokenizer.convert_tokens_to_ids("ab")
    assert policy.tokenizer.encode("ab", add_special_tokens=False) == [double]  # encoding again would give another id
    engine = Scripted([a, b, 1], [double, b, 1], versions=[4, 6])
    made = played(policy, engine, Says(answering("abd", None))).generation
    prompt = encode_prompt(policy.tokenizer, TASK.prompt)
    (d,) = ids(policy, "d")
    assert engine.asked[1][0] == [*prompt, a, b, 1, double, d]  # the reply is encoded, and by itself
    assert made.token_ids == (a, b, 1, double, d, double, b, 1)
    assert made.sampled == (True, True, True, False, False, True, True, True)
    assert made.logprobs == pytest.approx((-0.1, -0.2, -0.3, 0.0, 0.0, -0.1, -0.2, -0.3))
    assert made.weight_version == 4
    assert made.finish_reason == "stop"


def test_a_completion_says_who_said_what(policy):
    a, b, double = *ids(policy, "ab"), policy.tokenizer.convert_tokens_to_ids("ab")
    made = played(policy, Scripted([a, b, 1], [double, b, 1]), Says(answering("abd", None))).generation
    completion = to_completion(made, policy.tokenizer, policy.stop_ids)
    assert completion.text == "ab\nabdabb"
    assert [(turn.text, turn.sampled) for turn in completion.turns] == [("ab", True), ("abd", False), ("abb", True)]
    assert completion.length == made.length == 6
    assert completion.token_ids == made.token_ids


def test_two_turns_with_an_empty_reply_between_them_stay_two(policy):
    (a,) = ids(policy, "a")
    made = played(policy, Scripted([a, 1], [a, 1]), Says(answering("", None))).generation
    assert [turn.text for turn in to_completion(made, policy.tokenizer, policy.stop_ids).turns] == ["a", "a"]


def test_a_reply_cannot_end_a_turn_but_what_the_recipe_puts_around_it_can_hold_special_tokens():
    spec = {**TOY_MODEL, "tokenizer": {"characters": ALPHABET + "<os>", "tokens": ["[T]"]}}
    policy = initialise(ModelSpec(**spec), 0)
    (a,) = ids(policy, "a")
    environment = Says(answering("<eos>", None), prefix="[T]")
    made = played(policy, Scripted([a, 1], [a, 1]), environment).generation
    special = policy.tokenizer.convert_tokens_to_ids("[T]")
    assert made.token_ids == (a, 1, special, *ids(policy, "<eos>"), a, 1)
    assert made.token_ids.count(1) == 2


def test_an_episode_whose_turn_is_cut_is_cut(policy):
    (a,) = ids(policy, "a")
    found = played(policy, Scripted([a] * 20), Says(answering()))
    assert found.generation.finish_reason == "length"
    assert found.turns == 1
    assert found.problem is None


def test_max_turns_cuts_where_the_environment_would_go_on_and_only_there(policy):
    (a,) = ids(policy, "a")
    cut = played(policy, Scripted([a, 1], [a, 1]), Says(answering("b", "b"), max_turns=2))
    assert (cut.turns, cut.generation.finish_reason) == (2, "length")
    assert cut.generation.sampled[-1]  # the reply that nobody answers is left out
    whole = played(policy, Scripted([a, 1], [a, 1]), Says(answering("b", None), max_turns=2))
    assert (whole.turns, whole.generation.finish_reason) == (2, "stop")


def test_max_tokens_bounds_what_is_sampled_in_all_turns_and_replies_do_not_count(policy):
    (a,) = ids(policy, "a")
    engine = Scripted([a, a, 1], [a, a, a, a, 1])
    made = played(policy, engine, Says(answering("bbbbbbbb", None)), max_tokens=5).generation
    assert [most for _, most, _ in engine.asked] == [5, 2]
    assert (made.length, made.finish_reason) == (5, "length")
    assert len(made.token_ids) == 13
    spent = played(policy, Scripted([a, 1]), Says(answering("b")), max_tokens=2).generation
    assert (spent.token_ids, spent.finish_reason) == ((a, 1), "length")


def test_replies_count_against_the_context(policy):
    (a,) = ids(policy, "a")
    engine = Scripted([a, 1], [a] * 20)
    made = played(policy, engine, Says(answering("bbb", None), max_context=12), max_tokens=20).generation
    assert [most for _, most, _ in engine.asked] == [20, 3]  # prompt 4, turn 2, reply 3
    assert (len(made.token_ids), made.finish_reason) == (8, "length")
    full = played(policy, Scripted([a, 1]), Says(answering("b" * 60)), max_tokens=20).generation
    assert (full.token_ids, full.finish_reason) == ((a, 1), "length")  # the model's own context is 64


def test_episodes_with_less_room_than_others_do_not_shorten_theirs(policy):
    (a,) = ids(policy, "a")
    long = Task("u", "#" + "a" * 30 + "=", domain="desk")
    prompts = [encode_prompt(policy.tokenizer, task.prompt) for task in (TASK, long)]
    engine = Scripted([a, 1], [a, 1], [a] * 25, [a] * 25)
    hosts = {"desk": host_of(Says(lambda text: "c" * 10))}
    found = play(engine, policy, [TASK, long], prompts, SamplingParams(max_tokens=30), [1, 2], hosts)
    assert [each.generation.length for each in found] == [27, 22]  # 64 - 32 - 2 - 10 = 20 for the second turn


def test_each_turn_has_a_seed_of_its_own_and_the_first_is_the_prompts(policy):
    (a,) = ids(policy, "a")
    engine = Scripted([a, 1], [a, 1], [a, 1])
    played(policy, engine, Says(answering("b", "b", None)))
    seeds = [seed for *_, seed in engine.asked]
    assert seeds[0] == 3
    assert len(set(seeds)) == 3


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (lambda text: 1 / 0, "raised ZeroDivisionError"),
        (lambda text: 5, "reply returned a int, expected text or None"),
        (lambda text: "b" * (LONGEST_REPLY + 1), "characters, at most"),
        (lambda text: "?", "cannot be encoded"),
        (lambda text: exec("raise SystemExit(3)"), "raised SystemExit"),
        (lambda text: time.sleep(3), "still running after"),
    ],
)
def test_an_environment_that_fails_is_an_error_of_its_owners(policy, reply, reason):
    environment = Says(reply)
    environment.timeout_s = 0.2
    (a,) = ids(policy, "a")
    found = played(policy, Scripted([a, 1]), environment)
    assert isinstance(found.problem, Error)
    assert reason in found.problem.reason
    assert found.problem.owner == "acme-desk"
    assert environment.closed == 1


def test_an_environment_that_cannot_open_an_episode_fails_it(policy):
    class Closed(Environment):
        def open(self, task: Task) -> Episode:
            raise LookupError("no such desk")

    found = played(policy, Scripted([*ids(policy, "a"), 1]), Closed())
    assert found.problem == Error("raised LookupError: no such desk", "acme-desk")


def settled(hosts: dict[str, EnvironmentHost], failed: int, whole: int) -> list[Any]:
    generation = Generation((1,), (0.0,), "stop", 0, (True,))
    found = [Played(generation, problem=Error("broken", "acme-desk"))] * failed + [Played(generation)] * whole
    return settle([Sample(TASK)] * len(found), found, hosts)


def test_failed_episodes_are_charged_to_the_environments_budget():
    hosts = {"desk": host_of(ToyEnvironment(), ErrorPolicy(budget=0.2, grace=5))}
    assert settled(hosts, 1, 9) == [Error("broken", "acme-desk"), *[None] * 9]
    with pytest.raises(VerifierError, match="acme-desk/desk spent its error budget") as raised:
        settled(hosts, 5, 0)
    assert raised.value.owner == "acme-desk"


def test_a_quarantined_domain_has_no_verdicts_any_more(policy):
    hosts = {"desk": host_of(ToyEnvironment(), ErrorPolicy(budget=0.2, grace=5, on_exceeded="quarantine"))}
    assert all(isinstance(verdict, Abstain) for verdict in settled(hosts, 6, 0))
    prompt = encode_prompt(policy.tokenizer, TASK.prompt)
    engine = Scripted([*ids(policy, "a"), 1])
    (found,) = play(engine, policy, [TASK], [prompt], SamplingParams(max_tokens=9), [1], hosts)
    assert found.problem is not None
    assert len(engine.asked) == 1  # nothing more is asked of model or environment


def test_sharing_the_episodes_out_changes_none_of_them():
    policy, engine = toy_model(3), TransformersEngine()
    engine.sync(policy, 0)
    tasks = [Task(str(n), f"#{'abcdef'[n % 6]}bc=", domain="desk" if n % 3 else "plain") for n in range(24)]
    prompts = [encode_prompt(policy.tokenizer, task.prompt) for task in tasks]
    hosts, sampling = {"desk": host_of(ToyEnvironment({"max_turns": 4}))}, SamplingParams(max_tokens=16)

    def part(start: int, stop: int) -> list[Played]:
        return play(engine, policy, tasks[start:stop], prompts[start:stop], sampling, list(range(start, stop)), hosts)

    whole = part(0, 24)
    shared = [*part(0, 7), *part(7, 24)]
    for one, other in zip(whole, shared, strict=True):
        assert (one.generation.token_ids, one.turns) == (other.generation.token_ids, other.turns)
        assert one.generation.logprobs == pytest.approx(other.generation.logprobs, abs=1e-5)
    assert max(each.turns for each in whole) > 2
    assert all(
        each.generation.sampled is None for each, task in zip(whole, tasks, strict=True) if task.domain == "plain"
    )
    assert all(each.generation.length <= 16 for each in whole)


def test_scores_of_completions_with_holes_are_those_of_each_row_alone():
    policy = toy_model(1)
    prompt = encode_prompt(policy.tokenizer, "#abc=")
    rows = [
        Generation((2, 3, 1, 4, 4, 5, 1), (0.0,) * 7, "stop", 0, (True, True, True, False, False, True, True)),
        Generation((3, 1, 2, 6, 1), (0.0,) * 5, "stop", 0, (True, True, False, True, True)),
        Generation((5, 1), (0.0,) * 2, "stop", 0),
    ]
    batch = collate([prompt] * 3, rows, [Sample(TASK)] * 3, [], 0)
    assert batch.completion_lengths.tolist() == [5, 4, 2]
    assert share_prompts(batch, 32) is not None
    shared = policy.logprobs(batch).detach()
    for row, made in enumerate(rows):
        tokens = torch.tensor([[*prompt, *made.token_ids]])
        logits = policy.model(tokens).logits.float().log_softmax(dim=-1)
        expected = logits[0, :-1].gather(1, tokens[0, 1:, None])[:, 0]
        own = made.sampled or (True,) * len(made.token_ids)
        for place, sampled in enumerate(own, start=len(prompt)):
            wanted = float(expected[place - 1].detach()) if sampled else 0.0
            assert math.isclose(float(shared[row, place]), wanted, abs_tol=1e-5)
