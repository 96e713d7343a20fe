"""The stage `lm-eval`: options, refusals, and the real harness on a real (tiny) model and local tasks."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest

from collegium.planning import make_plan
from collegium.plugins.registry import Registry
from collegium.recipe import load_recipe
from collegium.testing.stages import run_toy, toy_job, toy_model

CHOICES = """\
task: my-choices
dataset_path: json
dataset_kwargs: {data_files: {test: choices.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: answer
target_delimiter: ""
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
WORDS = """\
task: my-words
dataset_path: json
dataset_kwargs: {data_files: {test: words.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "#{{word}}="
doc_to_target: "{{word}}"
target_delimiter: ""
generation_kwargs: {until: ["#"], max_gen_toks: 4, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
RECIPE = """\
collegium: 1
name: harness
stages:
  student: {{use: pretrain, text: {text}, steps: 1, model: {{tokenizer: {{characters: ab}}}}}}
{stage}
"""


@pytest.fixture
def tasks(tmp_path):
    """A folder with a task of each kind and its data."""
    folder = tmp_path / "lm-eval-tasks"
    folder.mkdir()
    (folder / "choices.yaml").write_text(CHOICES)
    (folder / "words.yaml").write_text(WORDS)
    rows = [{"question": "#abc=", "choices": ["abc", "cba"], "answer": index % 2} for index in range(4)]
    (folder / "choices.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "words.jsonl").write_text("".join(json.dumps({"word": word}) + "\n" for word in ("abc", "fed")))
    return folder


@pytest.fixture
def harness():
    try:
        return metadata.version("lm-eval")
    except metadata.PackageNotFoundError:
        pytest.skip("lm-eval is not installed")


def job_of(tmp_path, folder, **options):
    toy_model().save(tmp_path / "model")
    given = {"include_path": str(folder), "tasks": ["my-choices", "my-words"], **options}
    return toy_job(
        "collegium-lm-eval/lm-eval", given, tmp_path / "t", domains=[], inputs={"init_from": tmp_path / "model"}
    )


def test_the_stage_is_discovered_and_leaves_a_report():
    entry = Registry.discover().find("stage", "lm-eval")
    assert entry.id == "collegium-lm-eval/lm-eval"
    assert entry.config_class().produces == "report"


def plan(tmp_path):
    block = (Path(__file__).parents[1] / "README.md").read_text().partition("```yaml\nstages:\n")[2].partition("```")[0]
    (tmp_path / "text").write_text("ab")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(text=tmp_path / "text", stage=block))
    return make_plan(load_recipe(recipe), Registry.discover())


def test_the_readmes_recipe_plans_and_an_edited_data_file_changes_its_fingerprint(tmp_path, tasks, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = plan(tmp_path).stages["harness"].fingerprint
    assert plan(tmp_path).stages["harness"].fingerprint == before
    (tasks / "words.jsonl").write_text('{"word": "a"}\n')
    assert plan(tmp_path).stages["harness"].fingerprint != before


def test_a_folder_without_tasks_stops_the_plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="holds no task"):
        plan(tmp_path)


def test_without_the_harness_the_stage_says_what_to_install(tmp_path, tasks, monkeypatch):
    def gone(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("collegium_lm_eval.stage.metadata.version", gone)
    outcome = run_toy(job_of(tmp_path, tasks))
    assert outcome.status == "failed"
    assert "pip install 'collegium-lm-eval[harness]'" in outcome.problem


@pytest.mark.engines
def test_the_harness_scores_a_real_model_on_both_kinds_of_task(tmp_path, tasks, harness):
    job = job_of(tmp_path, tasks)
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    # Equal questions, and each choice is right in half of them: whatever the model prefers, it is right in half.
    assert outcome.metrics["lm-eval/my-choices/acc"] == 0.5
    assert 0.0 <= outcome.metrics["lm-eval/my-words/exact_match"] <= 1.0
    report = json.loads((Path(job.directory) / "output" / "lm-eval.json").read_text())
    assert report["harness"] == harness
    assert report["n-samples"]["my-words"]["effective"] == 2


@pytest.mark.engines
@pytest.mark.parametrize(
    ("options", "edit", "message"),
    [
        ({"tasks": ["gone"]}, {}, "defines no task 'gone'"),
        ({"tasks": ["my-words"]}, {"words.yaml": ("words.jsonl", "gone.jsonl")}, "gone.jsonl"),
        ({"tasks": ["my-words"]}, {"words.yaml": ("dataset_path: json", "dataset_path: acme/hub")}, "acme/hub"),
    ],
)
def test_what_is_not_in_the_folder_fails_and_is_named(tmp_path, tasks, harness, options, edit, message):
    for name, (old, new) in edit.items():
        (tasks / name).write_text((tasks / name).read_text().replace(old, new))
    outcome = run_toy(job_of(tmp_path, tasks, **options))
    assert outcome.status == "failed"
    assert message in outcome.problem
