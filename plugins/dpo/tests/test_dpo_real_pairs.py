"""Real preference pairs from file to trained model, and the README's example."""

from __future__ import annotations

import json
import string
from pathlib import Path

from collegium.job import StageEvent
from collegium.planning import make_plan
from collegium.recipe import load_recipe
from collegium.testing.stages import TOY_MODEL, journal_of, run_toy, toy_job, toy_registry
from collegium.training.context import StageContext
from collegium.training.initialise import initialise
from collegium.training.language_model import LanguageModel
from collegium.training.model_spec import ModelSpec
from collegium_dpo.config import DpoConfig
from collegium_dpo.data import gather
from collegium_dpo.pairs import read_pairs

OPTIONS = {
    "max_tokens": 200,
    "too_long": "drop",
    "heldout": 100,
    "steps": 25,
    "lr": 3e-3,
    "batch": 32,
    "micro_batch": 16,
}


def test_polite_answers_are_told_from_impolite_ones_after_training(tmp_path, real_data):
    file = real_data / "pref_small_politeness.jsonl"
    alphabet = "".join(
        sorted({letter for pair in read_pairs(file) for letter in f"{pair.prompt}{pair.chosen}{pair.rejected}"})
    )
    sizes = {**TOY_MODEL["sizes"], "max_position_embeddings": 256}
    model = {**TOY_MODEL, "sizes": sizes, "tokenizer": {"characters": alphabet}}
    initialise(ModelSpec.model_validate(model), 0).save(tmp_path / "base")
    options = {**OPTIONS, "data": str(file)}
    job = toy_job("collegium-dpo/dpo", options, tmp_path / "s", domains=[], inputs={"init_from": tmp_path / "base"})
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    assert journal_of(job)[0]["heldout_before/margin"] < 0.1
    # Chance is 0.5 with a standard deviation of 0.05.
    assert outcome.metrics["heldout/accuracy"] > 0.7
    assert outcome.metrics["heldout/margin"] > 0.5
    assert outcome.metrics["heldout/chosen_change"] > 0


def test_files_of_the_data_folder_are_named_limited_and_read_as_far_as_the_model_can(tmp_path, real_data, monkeypatch):
    monkeypatch.setenv("COLLEGIUM_DATA", str(real_data))
    letters = string.ascii_letters + string.digits + " .,:;!?'\"()-\n"
    sizes = {**TOY_MODEL["sizes"], "max_position_embeddings": 256}
    template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "
    tokenizer = {"characters": letters, "chat_template": template}
    initialise(ModelSpec.model_validate({**TOY_MODEL, "sizes": sizes, "tokenizer": tokenizer}), 0).save(tmp_path / "b")
    names = ("pref_small_politeness.jsonl", "pref_llmbar.jsonl.gz", "pref_hh_harmless.jsonl.gz")
    options = {**OPTIONS, "data": [f"$COLLEGIUM_DATA/{name}" for name in names], "limit": 40, "steps": 1, "heldout": 0}
    job = toy_job("collegium-dpo/dpo", options, tmp_path / "s", domains=[], inputs={"init_from": tmp_path / "b"})
    assert "characters" in run_toy(job).problem
    events: list[StageEvent] = []
    job = job.model_copy(update={"options": {**options, "unencodable": "drop"}})
    context = StageContext(job, toy_registry(), events.append)
    data = gather(context, LanguageModel.load(tmp_path / "b"), DpoConfig(**job.options))
    said = "\n".join(event.text for event in events)
    for name in names:
        assert f"{name}: " in said
        assert sum(pair.chosen.name.startswith(name) for pair in data.pairs) == 40
    assert said.count("characters without a token and are left out") == 3
    assert said.count("are longer than 200 tokens and left out") == 3


def test_the_example_of_the_readme_plans_and_depends_on_what_is_in_its_file(tmp_path, installed_registry, monkeypatch):
    monkeypatch.chdir(tmp_path)
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    (tmp_path / "recipe.yaml").write_text(readme.split("```yaml\n")[1].split("```")[0])
    (tmp_path / "corpus.txt").write_text("abc")

    def fingerprint(chosen: str) -> str:
        row = json.dumps({"prompt": "p", "chosen": chosen, "rejected": "r"})
        (tmp_path / "pairs.jsonl").write_text(row + "\n")
        stage = make_plan(load_recipe(tmp_path / "recipe.yaml"), installed_registry).stages["dpo"]
        assert stage.options["loss"]["nll"] == 0.2
        return stage.fingerprint

    assert fingerprint("one") != fingerprint("another")
