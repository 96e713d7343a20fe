"""Scoring: each teacher once per batch, order restored, fail closed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from collegium import EngineError, Router, Sample, SamplingParams, Task, Teacher, TeacherError
from collegium.builtin_components.engine import TransformersEngine
from collegium.builtin_components.teacher import CheckpointTeacher
from collegium.testing.stages import toy_model
from collegium.testing.toy_domain import ALPHABET
from collegium.training.batch import RolloutBatch, collate
from collegium.training.language_model import LanguageModel
from collegium.training.scoring import check_handshake, score
from collegium.training.teacher_pool import TeacherPool, teacher_metrics
from collegium.training.tokenizers import TokenizerIdentity, character_tokenizer

DOMAINS = ("a", "b", "c")


class ByDomain(Router):
    def route(self, sample: Sample) -> str:
        if not sample.domain:
            raise LookupError("no domain")
        return sample.domain


class Fixed(Router):
    """Give every sample one route."""

    def __init__(self, route: str | Mapping[str, float]) -> None:
        super().__init__()
        self._route = route

    def route(self, sample: Sample) -> str | Mapping[str, float]:
        return self._route


class CountingTeacher(CheckpointTeacher):
    """A real checkpoint teacher that counts its openings."""

    opened: ClassVar[Counter[str]] = Counter()

    def open(self) -> None:
        self.opened[self.config.path] += 1
        super().open()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    paths = {}
    for seed, name in enumerate(DOMAINS):
        paths[name] = tmp_path_factory.mktemp(name)
        toy_model(seed + 1).save(paths[name])
    return paths


@pytest.fixture
def pool(models: dict[str, Path]) -> TeacherPool:
    CountingTeacher.opened.clear()
    teachers = {name: CountingTeacher({"path": str(path), "micro_batch": 3}) for name, path in models.items()}
    return TeacherPool(teachers, ByDomain(), dict.fromkeys(teachers, "acme-teachers"))


def rollouts(student: LanguageModel, domains: str = "abcacbabca") -> RolloutBatch:
    prompts = [[2 + index % 5] * (1 + index % 4) for index in range(len(domains))]
    engine = TransformersEngine()
    engine.sync(student, 0)
    made = list(engine.generate(prompts, SamplingParams(max_tokens=9), range(len(prompts))))
    samples = [Sample(Task(str(i), "", domain=domain)) for i, domain in enumerate(domains)]
    return collate(prompts, made, samples, [], pad_id=0)


def test_every_teacher_is_opened_once_per_batch_and_the_order_is_restored(pool, models):
    batch = rollouts(toy_model())
    pool.score(batch, hidden=True, logprobs=True)
    assert CountingTeacher.opened == {str(path): 1 for path in models.values()}
    assert batch.teachers == batch.domains
    for row, domain in enumerate(batch.domains):
        teacher, alone = LanguageModel.load(models[domain]), batch.select([row])
        width = alone.token_ids.shape[1]
        assert torch.allclose(batch.teacher[row, :width], teacher.logprobs(alone)[0], atol=1e-5)
        assert torch.allclose(batch.teacher_hidden[row], teacher.predicting_states(alone), atol=1e-5)
        assert torch.equal(batch.teacher_heads[domain], teacher.head)


@pytest.mark.parametrize("offload", ["cpu", "disk"])
def test_a_closed_teacher_refuses_to_score_and_can_be_opened_again(models, offload):
    teacher, batch = CheckpointTeacher({"path": str(models["a"]), "offload": offload}), rollouts(toy_model(), "aa")
    teacher.open()
    first = teacher.logprobs(batch)
    teacher.close()
    with pytest.raises(TeacherError, match="is closed"):
        teacher.logprobs(batch)
    teacher.open()
    assert torch.equal(teacher.logprobs(batch), first)


def test_the_students_own_weights_as_teacher_give_zero_kl(models):
    student = LanguageModel.load(models["a"])
    batch = rollouts(student, "aaaa")
    batch.old = score(student, batch, micro_batch=2)
    TeacherPool({"a": CheckpointTeacher({"path": str(models["a"])})}, ByDomain(), {}).score(
        batch, hidden=False, logprobs=True
    )
    assert (batch.old - batch.teacher).abs().max() < 1e-5
    assert abs(teacher_metrics(batch, ["a"])["kl/a"]) < 1e-6


def test_weights_over_teachers_mix_their_probabilities(pool, models):
    pool.router = Fixed({"a": 0.25, "b": 0.75})
    batch = rollouts(toy_model())
    pool.score(batch, hidden=False, logprobs=True)
    probabilities = [LanguageModel.load(models[name]).logprobs(batch).exp() for name in ("a", "b")]
    expected = (0.25 * probabilities[0] + 0.75 * probabilities[1]).log()
    mask = batch.completion_mask
    assert torch.allclose(batch.teacher[mask], expected[mask], atol=1e-5)
    assert set(batch.teachers) == {""}


def test_a_mixture_has_no_hidden_states(pool):
    pool.router = Fixed({"a": 0.5, "b": 0.5})
    with pytest.raises(TeacherError, match="10 samples are routed to several teachers"):
        pool.score(rollouts(toy_model()), hidden=True, logprobs=False)


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ("chemistry", r"names 'chemistry', which is no teacher of the stage; its teachers: a, b, c"),
        ({"a": 0.5, "x": 0.5}, r"names 'x', which is no teacher"),
        ({"a": 0.5}, r"expected positive ones that sum to 1"),
        ({"a": 1.5, "b": -0.5}, r"expected positive ones that sum to 1"),
        ({}, r"expected positive ones that sum to 1"),
    ],
)
def test_a_route_that_is_no_teacher_stops_the_run(pool, route, said):
    pool.router = Fixed(route)
    with pytest.raises(TeacherError, match=said):
        pool.score(rollouts(toy_model()), hidden=False, logprobs=True)
    assert not CountingTeacher.opened


def test_a_router_without_a_teacher_for_a_sample_stops_the_run(pool):
    batch = rollouts(toy_model(), "ab")
    batch.samples[1] = Sample(Task("lost", ""))
    with pytest.raises(TeacherError, match=r"ByDomain on task 'lost'.*no teacher \(no domain\).*teachers: a, b, c"):
        pool.score(batch, hidden=False, logprobs=True)


def test_a_teacher_with_another_tokenizer_is_refused_with_its_owner(pool):
    pool.check_tokenizers(toy_model().identity)
    student = TokenizerIdentity.of(character_tokenizer(ALPHABET.replace("bc", "cb")))
    with pytest.raises(TeacherError, match=r"teacher 'a' has another tokenizer.*'c' here and 'b' there") as caught:
        pool.check_tokenizers(student)
    assert caught.value.owner == "acme-teachers"


class BrokenTeacher(Teacher):
    """Give back what it was told to."""

    def __init__(self, answer: torch.Tensor | Exception) -> None:
        super().__init__()
        self.answer = answer
        self.closed = 0

    def logprobs(self, batch: RolloutBatch) -> torch.Tensor:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer.expand(batch.token_ids.shape) if self.answer.ndim == 0 else self.answer

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (torch.tensor(float("nan")), "log-probs that are positive or not numbers"),
        (torch.tensor(0.5), "log-probs that are positive or not numbers"),
        (torch.zeros(1, 1), r"log-probs of shape \[1, 1\]"),
        (OSError("connection refused"), "cannot score: OSError: connection refused"),
        (NotImplementedError("log-probs only"), "cannot score: log-probs only"),
    ],
)
def test_what_a_teacher_does_wrong_is_laid_at_its_owners_door(answer, said):
    teacher = BrokenTeacher(answer)
    pool = TeacherPool({"a": teacher}, ByDomain(), {"a": "acme-teachers"})
    with pytest.raises(TeacherError, match=f"teacher 'a' .*{said}") as caught:
        pool.score(rollouts(toy_model(), "aa"), hidden=False, logprobs=True)
    assert caught.value.owner == "acme-teachers"
    assert teacher.closed == 1


def test_a_teacher_without_hidden_states_cannot_serve_a_loss_that_needs_them():
    pool = TeacherPool({"a": BrokenTeacher(torch.tensor(0.0))}, ByDomain(), {})
    with pytest.raises(TeacherError, match="gives log-probs only; use a sampled-token loss"):
        pool.score(rollouts(toy_model(), "aa"), hidden=True, logprobs=False)


def test_the_handshake_finds_an_engine_with_stale_weights():
    policy = toy_model()
    batch = rollouts(policy)
    assert check_handshake(policy, batch, tolerance=0.05) < 1e-5
    with torch.no_grad():
        policy.head.mul_(3.0)
    with pytest.raises(EngineError, match="engine and trainer disagree"):
        check_handshake(policy, batch, tolerance=0.05)


def test_the_handshake_refuses_another_temperature():
    policy = toy_model()
    with torch.no_grad():
        policy.head.mul_(8.0)
    engine = TransformersEngine()
    engine.sync(policy, 0)
    made = list(engine.generate([[2]] * 8, SamplingParams(max_tokens=8, temperature=0.5), range(8)))
    batch = collate([[2]] * 8, made, [Sample(Task(str(i), "")) for i in range(8)], [], pad_id=0)
    with pytest.raises(EngineError, match="disagree"):
        check_handshake(policy, batch, tolerance=0.05)


def test_a_token_that_a_teacher_never_gives_leaves_its_kl_finite():
    from collegium.training.divergence import MAX_LOG_RATIO

    batch = rollouts(toy_model())
    batch.old = torch.where(batch.completion_mask, -1.0, 0.0)
    batch.teacher = torch.where(batch.completion_mask, -1.0, 0.0)
    batch.teachers = ["a"] * len(batch)
    row, token = batch.completion_mask.nonzero()[0].tolist()
    batch.teacher[row, token] = float("-inf")
    found = teacher_metrics(batch, ["a"])
    assert found["kl"] == found["kl/a"] == pytest.approx(MAX_LOG_RATIO / int(batch.completion_mask.sum()))
