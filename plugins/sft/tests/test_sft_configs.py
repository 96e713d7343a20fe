"""What is in the files that the options name is part of a stage's fingerprint."""

from __future__ import annotations

import pytest

from collegium.planning import make_plan
from collegium.recipe import load_recipe

RECIPE = """\
collegium: 1
name: files
stages:
  base: {{use: collegium-sft/pretrain, text: {text}, model: {{tokenizer: {{path: {tokenizer}}}}}}}
  sft: {{use: collegium-sft/sft, init_from: base, data: {data}}}
"""


@pytest.mark.parametrize(
    ("edited", "changed"), [("data", {"sft"}), ("text", {"base", "sft"}), ("tokenizer", {"base", "sft"})]
)
def test_an_edited_file_changes_what_reads_it(tmp_path, installed_registry, edited, changed):
    paths = {name: tmp_path / name for name in ("text", "data", "tokenizer")}
    for path in paths.values():
        path.write_text("one")
    recipe = tmp_path / "files.yaml"
    recipe.write_text(RECIPE.format(**paths))

    def fingerprints() -> dict[str, str]:
        stages = make_plan(load_recipe(recipe), installed_registry).stages
        return {name: stage.fingerprint for name, stage in stages.items()}

    before = fingerprints()
    paths[edited].write_text("another")
    after = fingerprints()
    assert {name for name in before if before[name] != after[name]} == changed
