"""What the quick start must show, read from the report that `make demo` leaves. Run by `make accept`, after the demo."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = ROOT / "runs/quickstart"

pytestmark = pytest.mark.skipif(
    not (RUN / "report.json").is_file() and not os.environ.get("COLLEGIUM_ACCEPT"), reason="make demo has not run"
)


@pytest.fixture(scope="module")
def report() -> dict:
    return json.loads((RUN / "report.json").read_text())


@pytest.fixture(params=["math", "code", "instructions"])
def domain(request, report) -> tuple[str, dict]:
    return request.param, report["domains"][request.param]


def test_the_run_completed(report):
    assert report["status"] == "completed"
    assert {stage["status"] for stage in report["stages"]} <= {"completed", "cached"}


def test_the_start_is_low_and_the_teacher_high(domain):
    _, row = domain
    assert row["start"] <= 0.5
    assert row["teacher"] >= 0.85


def test_the_student_captures_the_headroom(domain):
    _, row = domain
    assert row["headroom_captured"] >= 0.90


def test_a_specialist_gains_little_elsewhere(domain, report):
    name, _ = domain
    for other, found in report["domains"].items():
        if other != name:
            gained = found["scores"][f"teacher-{name}"] - found["start"]
            assert gained <= 0.25 * (found["teacher"] - found["start"]), (name, other)


def test_no_task_that_is_scored_was_trained_on(installed_registry):
    from collegium.planning import make_plan
    from collegium.recipe import load_recipe

    plan = make_plan(load_recipe(RUN / "recipe.yaml"), installed_registry)
    for spec in plan.domains.values():
        source = installed_registry.build("task", spec.task.use, spec.task.options)
        trained = {task.prompt_text for task in source.tasks("train")}
        trained |= {demonstration.task.prompt_text for demonstration in source.demonstrations()}
        heldout = [task.prompt_text for task in source.tasks("heldout")]
        assert len(heldout) >= 80
        assert not trained & set(heldout)
        texts = list(source.texts())
        # at the beginning of a word: 147+23= is another task than 47+23=
        anywhere = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, heldout)) + ")")
        assert not [found for text in texts for found in anywhere.findall(text)]
