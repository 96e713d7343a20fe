"""Real preference pairs from file to trained model, and the README's example."""

from __future__ import annotations

import json
from pathlib import Path

from collegium.planning import make_plan
from collegium.recipe import load_recipe
from collegium.testing.stages import TOY_MODEL, journal_of, run_toy, toy_job
from collegium.training.initialise import initialise
from collegium.training.model_spec import ModelSpec
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
