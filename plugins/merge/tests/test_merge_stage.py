"""The stage: discovered, right on real checkpoints, the same however they are stored, and strict about what it merges."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from collegium.job import InputArtifact, StageJob, StageOutcome
from collegium.plugins.registry import Registry
from collegium.testing.stages import run_toy, toy_job, toy_model, weights_of
from collegium.training.language_model import LanguageModel
from collegium_merge.config import MergeConfig

NAMES = ("one", "two", "three")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and three models near it."""
    folder = tmp_path_factory.mktemp("models")
    toy_model(seed=0).save(folder / "base")
    for number, name in enumerate(NAMES, start=1):
        model = toy_model(seed=0)
        torch.manual_seed(number)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.01 * torch.randn_like(weight))
        model.save(folder / name)
    return folder


def stored(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def merge(
    directory: Path, models: Mapping[str, Path], base: Path | None = None, use: str = "merge", **options: Any
) -> tuple[StageJob, StageOutcome]:
    job = toy_job(f"collegium-merge/{use}", options, directory, domains=[])
    inputs: dict[Any, list[InputArtifact]] = {
        "average_of": [InputArtifact(source=name, path=str(path)) for name, path in models.items()]
    }
    if base is not None:
        inputs["reference"] = [InputArtifact(source=base.name, path=str(base))]
    job = job.model_copy(update={"inputs": inputs})
    return job, run_toy(job)


def merged(directory: Path, folder: Path, *names: str, base: str | None = None, **options: Any) -> dict[str, Tensor]:
    models = {name: folder / name for name in names}
    job, outcome = merge(directory, models, folder / base if base else None, **options)
    assert outcome.status == "completed", outcome.problem
    return weights_of(job)


def close(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.allclose(value, one[name], atol=1e-7) for name, value in other.items())


def test_the_stages_are_found_through_their_entry_point():
    registry = Registry.discover()
    assert registry.find("stage", "merge").id == "collegium-merge/merge"
    assert registry.find("stage", "merge-reward-model").config_class().produces == "reward_model"


def test_planning_imports_no_torch():
    code = "import sys, collegium_merge.plugin, collegium_merge.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_average_is_the_mean_of_every_weight(tmp_path, folder):
    found = merged(tmp_path / "m", folder, *NAMES)
    parts = [stored(folder / name) for name in NAMES]
    assert close(found, {name: sum(part[name] for part in parts) / 3 for name in parts[0]})


def test_an_average_with_weights_divides_by_their_sum(tmp_path, folder):
    found = merged(tmp_path / "m", folder, "one", "two", weights={"one": 3.0, "two": 1.0})
    one, two = stored(folder / "one"), stored(folder / "two")
    assert close(found, {name: 0.75 * one[name] + 0.25 * two[name] for name in one})


def test_the_average_of_equal_models_is_the_model(tmp_path, folder):
    for name in ("a", "b", "c"):
        shutil.copytree(folder / "one", tmp_path / name)
    found = merged(tmp_path / "m", tmp_path, "a", "b", "c")
    assert all(torch.equal(value, found[name]) for name, value in stored(folder / "one").items())


def test_task_arithmetic_adds_and_takes_away_changes(tmp_path, folder):
    found = merged(
        tmp_path / "m",
        folder,
        "one",
        "two",
        base="base",
        method="task-arithmetic",
        weights={"one": 1.0, "two": -0.5},
        scale=0.8,
    )
    base, one, two = (stored(folder / name) for name in ("base", "one", "two"))
    assert close(found, {n: base[n] + 0.8 * ((one[n] - base[n]) - 0.5 * (two[n] - base[n])) for n in base})


def test_dare_at_density_one_is_task_arithmetic(tmp_path, folder):
    dare = merged(tmp_path / "d", folder, "one", "two", base="base", method="dare", density=1.0)
    plain = merged(tmp_path / "t", folder, "one", "two", base="base", method="task-arithmetic")
    assert all(torch.equal(value, plain[name]) for name, value in dare.items())


def test_dare_moves_the_drawn_weights_only_and_draws_by_the_seed(tmp_path, folder):
    one, again = (merged(tmp_path / d / "m", folder, "one", base="base", method="dare") for d in ("1", "2"))
    base, source = stored(folder / "base"), stored(folder / "one")
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    changes = torch.cat([(one[name] - base[name]).flatten() for name in base])
    expected = torch.cat([10 * (source[name] - base[name]).flatten() for name in base])
    moved = changes != 0
    # Six standard deviations of the share of draws.
    assert moved.float().mean().item() == pytest.approx(0.1, abs=6 * (0.1 * 0.9 / len(moved)) ** 0.5)
    assert torch.allclose(changes[moved], expected[moved], atol=1e-6)


def test_ties_of_one_model_keeps_its_largest_changes_over_all_tensors(tmp_path, folder):
    found = merged(tmp_path / "m", folder, "one", base="base", method="ties", density=0.25)
    base, one = stored(folder / "base"), stored(folder / "one")
    changes = torch.cat([(one[name] - base[name]).flatten() for name in base])
    threshold = changes.abs().sort(descending=True).values[int(0.25 * len(changes)) - 1]
    for name in base:
        change = one[name] - base[name]
        assert torch.allclose(found[name], base[name] + torch.where(change.abs() >= threshold, change, 0.0), atol=1e-7)


def test_ties_of_three_models_at_density_one_elects_per_weight(tmp_path, folder):
    found = merged(tmp_path / "m", folder, *NAMES, base="base", method="ties", density=1.0)
    base = stored(folder / "base")
    for name in base:
        changes = torch.stack([stored(folder / source)[name] - base[name] for source in NAMES])
        agrees = changes.sign() == changes.sum(dim=0).sign()
        expected = base[name] + (changes * agrees).sum(dim=0) / agrees.sum(dim=0).clamp(min=1)
        assert torch.allclose(found[name], expected, atol=1e-6)


def test_the_distance_of_each_model_is_reported(tmp_path, folder):
    _, outcome = merge(tmp_path / "m", {name: folder / name for name in ("one", "base")})
    one, base = stored(folder / "one"), stored(folder / "base")
    flat = torch.cat([(one[name] - base[name]).flatten() for name in base]) / 2
    assert outcome.metrics["distance/one"] == pytest.approx(flat.square().mean().sqrt().item(), rel=1e-4)
    assert (outcome.metrics["tensors"], outcome.metrics["weights"]) == (len(base), len(flat))


def test_a_tied_head_is_merged_once_even_if_a_source_stores_it_twice(tmp_path, folder):
    shutil.copytree(folder / "one", tmp_path / "twice")
    weights = stored(folder / "one")
    save_file(
        {**weights, "lm_head.weight": weights["model.embed_tokens.weight"].clone()},
        tmp_path / "twice" / "model.safetensors",
    )
    models = {"twice": tmp_path / "twice", "two": folder / "two"}
    for method in ("dare", "ties"):
        job, outcome = merge(tmp_path / method, models, folder / "base", method=method)
        assert outcome.status == "completed", outcome.problem
        left = stored(Path(job.directory) / "output" / "model")
        assert "lm_head.weight" not in left
        model = LanguageModel.load(Path(job.directory) / "output" / "model")
        assert torch.equal(model.head, left["model.embed_tokens.weight"])


def test_a_tied_head_that_differs_from_its_twin_is_an_error(tmp_path, folder):
    shutil.copytree(folder / "one", tmp_path / "odd")
    weights = stored(folder / "one")
    save_file(
        {**weights, "lm_head.weight": weights["model.embed_tokens.weight"] + 1}, tmp_path / "odd" / "model.safetensors"
    )
    _, outcome = merge(tmp_path / "m", {"odd": tmp_path / "odd", "two": folder / "two"})
    assert outcome.kind == "PolicyError"
    assert "'lm_head.weight' differs from 'model.embed_tokens.weight'" in outcome.problem


def test_an_untied_head_is_merged_as_any_tensor(tmp_path):
    for seed, name in enumerate(("a", "b")):
        toy_model(seed, tie_word_embeddings=False).save(tmp_path / name)
    found = merged(tmp_path / "m", tmp_path, "a", "b")
    heads = [stored(tmp_path / name)["lm_head.weight"] for name in ("a", "b")]
    assert torch.allclose(found["lm_head.weight"], (heads[0] + heads[1]) / 2)


def test_models_in_several_files_are_merged_file_by_file(tmp_path, folder):
    model = LanguageModel.load(folder / "one")
    model.model.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    model.tokenizer.save_pretrained(tmp_path / "sharded")
    files = sorted(path.name for path in (tmp_path / "sharded").glob("*.safetensors"))
    assert len(files) > 2
    job, outcome = merge(tmp_path / "m", {"sharded": tmp_path / "sharded", "two": folder / "two"})
    assert outcome.status == "completed", outcome.problem
    assert sorted(path.name for path in (Path(job.directory) / "output" / "model").glob("*.safetensors")) == files
    whole = merged(tmp_path / "w", folder, "one", "two")
    assert all(torch.equal(value, whole[name]) for name, value in weights_of(job).items())


def test_the_widest_precision_of_the_sources_is_stored(tmp_path, folder):
    for name in ("one", "two"):
        LanguageModel.load(folder / name, dtype=torch.bfloat16).save(tmp_path / name)
    narrow, _ = merge(tmp_path / "narrow", {name: tmp_path / name for name in ("one", "two")})
    mixed, _ = merge(tmp_path / "mixed", {"one": tmp_path / "one", "two": folder / "two"})
    for job, dtype in ((narrow, torch.bfloat16), (mixed, torch.float32)):
        left = Path(job.directory) / "output" / "model"
        assert {tensor.dtype for tensor in stored(left).values()} == {dtype}
        assert json.loads((left / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")


def other_model(path: Path, change: str) -> Path:
    model = toy_model(0, **({"num_hidden_layers": 1} if change == "layers" else {}))
    model.save(path)
    if change == "tokenizer":
        text = (path / "tokenizer.json").read_text().replace('"a"', '"z"')
        (path / "tokenizer.json").write_text(text)
    if change == "tensor":
        weights = stored(path)
        del weights["model.norm.weight"]
        save_file(weights, path / "model.safetensors")
    if change == "nan":
        weights = stored(path)
        weights["model.norm.weight"][3] = float("nan")
        save_file(weights, path / "model.safetensors")
    if change == "config":
        (path / "config.json").write_text("{")
    if change == "pickle":
        (path / "model.safetensors").unlink()
        torch.save(model.model.state_dict(), path / "pytorch_model.bin")
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("layers", "config entry 'num_hidden_layers' is 2 here and 1 there"),
        ("tokenizer", "is 'a' here and 'z' there"),
        ("tensor", "tensor 'model.norm.weight' exists only here"),
        ("nan", "tensor 'model.norm.weight' of the merged model is not finite"),
        ("config", "model 'other' at "),
        ("pickle", "has no safetensors file"),
    ],
)
def test_models_that_cannot_be_merged_are_an_error_that_names_what_differs(tmp_path, folder, change, said):
    other = other_model(tmp_path / "other", change)
    job, outcome = merge(tmp_path / "m", {"one": folder / "one", "other": other})
    assert outcome.kind == "PolicyError"
    assert said in outcome.problem
    assert not (Path(job.directory) / "output" / "model").exists()
    if change in ("layers", "tokenizer", "tensor"):  # the reference is held to the same
        assert said in merge(tmp_path / "r", {"one": folder / "one"}, other, method="ties")[1].problem


@pytest.mark.parametrize(
    ("options", "base", "said"),
    [
        ({"method": "ties"}, None, "ties needs the common ancestor as reference"),
        ({}, "base", "an average has no reference"),
        ({"weights": {"one": 1.0}}, None, "average_of gives one, two; weights are of one"),
        ({"weights": {"one": 1.0, "two": 1.0, "three": 1.0}}, None, "weights are of one, two, three"),
    ],
)
def test_a_recipe_that_does_not_fit_its_sources_is_refused(tmp_path, folder, options, base, said):
    models = {name: folder / name for name in ("one", "two")}
    _, outcome = merge(tmp_path / "m", models, folder / base if base else None, **options)
    assert outcome.kind == "RecipeError"
    assert said in outcome.problem


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"density": 0.5}, "density is of no use to average"),
        ({"method": "task-arithmetic", "density": 0.5}, "density is of no use"),
        ({"scale": 0.5}, "scale is of no use to an average"),
        ({"weights": {"a": -1.0, "b": 2.0}}, "no negative weight, as of a"),
        ({"weights": {"a": 0.0}}, "all weights are 0"),
    ],
)
def test_an_option_that_the_method_does_not_read_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        MergeConfig(**options)


def test_the_papers_densities_are_the_defaults():
    assert [MergeConfig(method=method).kept for method in ("ties", "dare", "average")] == [0.2, 0.1, 1.0]
