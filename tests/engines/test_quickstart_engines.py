"""The quick start's student with vLLM as its engine, and with two of its teachers served by vLLM: on CPU, all parts real."""

from __future__ import annotations

import json

import pytest

from tests.engines.conftest import DEMO

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.e2e]

AS_GOOD = 0.08
"""Headroom by which another engine's student may differ: its rollouts do, and a held-out set has 120 to 200 tasks."""
SAMPLED = ["stages.student.loss=sampled-token", "stages.student.aggregation=sequence-mean"]


def headroom(report: dict, demo: dict) -> dict[str, float]:
    """Return what the student captured of each teacher's lead; the demo knows the scores of the teachers' models."""
    rows = {name: (row["start"], row["student"]) for name, row in report["domains"].items()}
    return {
        name: (student - start) / (demo["domains"][name]["teacher"] - start) for name, (start, student) in rows.items()
    }


@pytest.fixture(scope="module")
def local(run_student) -> dict:
    """The student of the default engine and teachers in process, with a loss on sampled tokens: what is sampled, by
    whom, and what the teachers say of it all matter to it."""
    return run_student("local", *SAMPLED)


def test_the_student_learns_as_much_with_vllm_as_its_engine(demo, local, run_student):
    report = run_student("vllm", *SAMPLED, "stages.student.engine={use: vllm, dtype: float32}")
    print("default engine", headroom(local, demo), "vllm", headroom(report, demo))
    for domain, captured in headroom(report, demo).items():
        assert captured == pytest.approx(headroom(local, demo)[domain], abs=AS_GOOD), domain
    assert max(row["behaviour_gap"] for row in report["metrics"]) < 1e-4  # log-probs of engine and trainer, every step
    assert all(row["masked"] == 0 for row in report["metrics"])  # no token is outside the ratio's window


def test_the_student_learns_as_much_from_teachers_that_vllm_serves(demo, local, run_student, serve):
    served = {
        domain: {
            "use": "served",
            "url": serve(f"teacher-{domain}"),
            "model": f"teacher-{domain}",
            "checkpoint": str(DEMO / f"stages/teacher-{domain}/model"),
        }
        for domain in ("math", "code")
    }
    teachers = [f"stages.student.teachers.{domain}={json.dumps(teacher)}" for domain, teacher in served.items()]
    report = run_student("served", *SAMPLED, *teachers)
    print("local", headroom(local, demo), "served", headroom(report, demo))
    for domain, captured in headroom(report, demo).items():
        assert captured == pytest.approx(headroom(local, demo)[domain], abs=AS_GOOD), domain
    first, theirs = report["metrics"][0], local["metrics"][0]
    for name in ("kl/math", "kl/code", "kl/instructions"):
        assert first[name] == pytest.approx(theirs[name], abs=1e-4)
