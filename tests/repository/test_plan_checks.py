"""What the plan finds out across packages before anything is spent."""

from __future__ import annotations

from pathlib import Path

import pytest

from collegium import ExecutorConfig, LossConfig
from collegium.errors import RecipeError
from collegium.planning import make_plan
from collegium.recipe import load_recipe

QUICKSTART = Path(__file__).parents[2] / "recipes/quickstart.yaml"
SERVED = "stages.student.teachers.math={use: served, url: 'http://math:8000', model: m, tokenizer: org/model}"


@pytest.fixture
def fault(installed_registry, tmp_path):
    """Return a function that plans the quick start with overrides and returns what is wrong with it, in words."""

    def plan(*overrides: str, executor: str = "local") -> str:
        path = tmp_path / "quickstart.yaml"
        path.write_text(
            QUICKSTART.read_text().replace("executor: {use: local, workers: 2}", f"executor: {{use: {executor}}}")
        )
        try:
            make_plan(load_recipe(path, overrides), installed_registry)
        except RecipeError as error:
            return "\n".join(f"{problem.what} / {problem.fix}" for problem in error.problems)
        return ""

    return plan


def test_a_teacher_without_states_is_refused_where_the_loss_reads_them(fault):
    said = fault(SERVED)
    assert "stages.student.teachers.math: 'math' gives log-probs only" in said
    assert "collegium-mopd/reverse-kl reads hidden states / use a loss on sampled tokens" in said
    assert fault(SERVED, "stages.student.loss=sampled-token") == ""


@pytest.mark.parametrize(("executor", "refused"), [("in-process", True), ("local", True), ("slurm", False)])
def test_a_stage_over_several_machines_needs_an_executor_that_starts_them(fault, executor, refused, monkeypatch):
    monkeypatch.delenv("COLLEGIUM_MASTER", raising=False)
    said = fault("launch.strategy=ddp", "launch.processes=2", "launch.nodes=2", executor=executor)
    assert ("starts one machine / use an executor that starts all of them, such as slurm" in said) == refused
    assert refused or said == ""


def test_what_says_nothing_asks_for_nothing():
    assert not LossConfig().needs_teacher_states
    assert not ExecutorConfig().starts_every_machine
