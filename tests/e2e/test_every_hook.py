"""One outside package implements every hook: each kind of component is used in a run, each event is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from collegium.component import KINDS

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

HERE = Path(__file__).parent
RECIPE = """\
collegium: 1
name: everything
executor: every
trackers: [every]
admission: {margin: -1.0, unscored: admit}
domains: {copy: {task: every, verifier: every, environment: every}}
evaluation: {sampling: {max_tokens: 4, temperature: 0.0}}
stages:
  base:
    use: pretrain
    steps: 4
    batch: 8
    model:
      sizes: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2,
              num_key_value_heads: 2, max_position_embeddings: 32, tie_word_embeddings: true}
      tokenizer: {characters: "abcdef#~="}
  expert: {use: every, init_from: base, steps: 2, prompts: 4, group: 4, loss: every, reward: every, sampler: every,
           engine: every, advantages: [every], sampling: {max_tokens: 4}}
  student: {use: mopd, init_from: base, steps: 2, prompts: 8, router: every, weighter: every,
            teachers: {copy: {use: every, path: run/stages/base/model}}, sampling: {max_tokens: 4}}
"""


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """What the package wrote down in a run that ends well and one that fails."""
    folder = tmp_path_factory.mktemp("everything")
    site = folder / "site"
    shutil.copytree(HERE / "everything", site)
    metadata = site / "acme_everything-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-everything\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[collegium]\nacme-everything = acme_everything.plugin\n")
    (folder / "recipe.yaml").write_text(RECIPE)
    environment = {
        **os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "ACME_CALLS": str(folder / "calls.jsonl"),
    }  # fmt: skip

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "collegium", "run", "recipe.yaml", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)

    first = run("--out", "run", "stages.student=null", "requires=[]")
    assert first.returncode == 0, first.stdout + first.stderr
    student = run("--out", "student")
    assert student.returncode == 0, student.stdout + student.stderr
    environment["ACME_FAIL"] = "reward"
    failed = run("--out", "failed", "stages.expert.seed=9", "errors.grace=0")
    assert failed.returncode == 2, failed.stdout
    assert "acme-everything" in failed.stderr
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_component_of_every_kind_is_used_by_a_recipe_that_names_it(kind, calls):
    assert ["used", kind] in calls


@pytest.mark.parametrize(
    ("hook", "event", "stages"),
    [
        ("before_run", "RunStarted", {""}),
        ("after_run", "RunFinished", {""}),
        ("on_run_error", "RunFailed", {"expert"}),
        ("before_stage", "StageStarted", {"base", "expert", "student"}),
        ("after_stage", "StageFinished", {"base", "expert", "student"}),
        ("on_stage_error", "StageFailed", {"expert"}),
        ("after_step", "StepFinished", {"base", "expert", "student"}),
        ("after_rollouts", "RolloutsJudged", {"expert"}),
    ],
)
def test_every_event_is_told_with_its_stage(hook, event, stages, calls):
    told = [call for call in calls if call[:2] == ["event", hook]]
    assert {call[2] for call in told} == {event}
    assert stages <= {call[3] for call in told}


def test_every_registration_hook_offered_its_component(calls):
    from tests.e2e.everything.acme_everything.plugin import KINDS as OFFERED

    hooks = {f"register_{kind}" for kind in OFFERED}
    assert hooks == {
        "register_losses", "register_rewards", "register_verifiers", "register_samplers", "register_routers",
        "register_stages", "register_advantages", "register_weighters", "register_teachers", "register_engines",
        "register_tasks", "register_executors", "register_trackers", "register_environments",
    }  # fmt: skip
