"""Served teachers in a stage: as good as checkpoints, and a stage that ends with their error when they fail."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution

import pytest

from collegium.component import Use
from collegium.errors import TeacherError
from collegium.kinds.router import Router
from collegium.testing.stages import journal_of, run_toy, toy_domain, toy_job, toy_model
from collegium.training.teacher_pool import TeacherPool

OWNER = "collegium-teacher-served"
MOPD = {
    "steps": 3,
    "prompts": 8,
    "lr": 1e-3,
    "sampling": {"max_tokens": 6},
    "loss": {"use": "collegium-mopd/sampled-token"},
    "advantages": [{"use": "collegium-mopd/distill"}],
    "router": "collegium-mopd/by-domain",
    "weighter": "collegium-mopd/balanced",
}


class ToDomain(Router):
    """Routes a sample to the teacher of its domain."""

    def route(self, sample):
        return sample.domain


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Iterator[str]:
    """The student's start; without the stage's package the test is skipped, and under CI it fails."""
    try:
        distribution("collegium-mopd")
    except PackageNotFoundError:
        if os.environ.get("CI"):
            raise
        pytest.skip("collegium-mopd is not installed")
    folder = tmp_path_factory.mktemp("start")
    toy_model(seed=1).save(folder)
    return str(folder)


def student(directory, start, use):
    domains = [toy_domain("copy")]
    return toy_job(
        "collegium-mopd/mopd", MOPD, directory, domains=domains, inputs={"init_from": start}, teachers={"copy": use}
    )


def served_use(server, tokenizer, **options):
    base = {"url": server.url, "model": "teacher", "tokenizer": str(tokenizer), "backoff_s": 0.001}
    return Use(use=f"{OWNER}/served", options={**base, **options})


def test_a_pool_shows_the_error_of_a_teacher_that_fails_in_the_middle(teacher, server, servers, batch):
    pool = TeacherPool({"copy": teacher(sequences_per_request=2)}, ToDomain(), {"copy": OWNER})
    pool.score(batch, hidden=False, logprobs=True)
    assert (batch.teacher[batch.completion_mask] < 0).all()
    good = batch.teacher.clone()
    server.fail(servers.Behaviour(), servers.Behaviour())
    server.always["/v1/completions"] = servers.Behaviour(drop=True)
    with pytest.raises(TeacherError, match=r"stays down: .*connection failed") as caught:
        pool.score(batch, hidden=False, logprobs=True)
    assert caught.value.owner == OWNER
    assert batch.teacher.equal(good)  # not half of a new one
    server.always.clear()
    pool.score(batch, hidden=False, logprobs=True)
    assert batch.teacher.equal(good)


def test_a_pool_refuses_a_student_with_another_tokenizer(teacher):
    pool = TeacherPool({"copy": teacher()}, ToDomain(), {"copy": OWNER})
    other = toy_model().identity
    changed = type(other)({**other.tokens, 3: "Z"}, other.special, other.chat_template)
    with pytest.raises(TeacherError, match="another tokenizer than the student: token id 3 is 'Z' here"):
        pool.check_tokenizers(changed)


def test_a_student_learns_the_same_from_a_served_teacher_as_from_its_checkpoint(server, checkpoint, start, tmp_path):
    local = student(
        tmp_path / "local/student", start, Use(use="collegium/checkpoint", options={"path": str(checkpoint)})
    )
    served = student(tmp_path / "served/student", start, served_use(server, checkpoint, checkpoint=str(checkpoint)))
    for job in (local, served):
        outcome = run_toy(job)
        assert outcome.status == "completed", outcome.problem
    for expected, found in zip(journal_of(local), journal_of(served), strict=True):
        assert found == pytest.approx(expected, abs=1e-4)
    assert len(server.requests("/v1/models")) == 1  # one handshake for all steps


def test_a_stage_ends_with_the_error_of_its_teacher_and_goes_on_once_it_is_back(
    server, servers, checkpoint, start, tmp_path, monkeypatch
):
    monkeypatch.setenv("SERVED_STAGE_KEY", "sk-stage-secret")
    server.fail(servers.Behaviour(), servers.Behaviour(status=400, raw=b"context is sk-stage-secret too short"))
    use = served_use(server, checkpoint, api_key_env="SERVED_STAGE_KEY")
    job = student(tmp_path / "student", start, use)
    outcome = run_toy(job)
    assert (outcome.status, outcome.kind, outcome.owner) == ("failed", "TeacherError", OWNER)
    assert "it answered 400: Bad Request context is [key] too short" in outcome.problem
    assert run_toy(job).status == "completed"
    kept = "".join(file.read_text(errors="replace") for file in job_files(tmp_path))
    assert "sk-stage-secret" not in kept + job.model_dump_json() + json.dumps(outcome.model_dump(mode="json"))


def job_files(folder):
    return [file for file in folder.rglob("*") if file.is_file() and file.suffix in (".json", ".jsonl", ".log")]
