"""What counts as a distribution's code: every module that it brings, linked folders, bytecode that nobody compares."""

from __future__ import annotations

import importlib.metadata
import py_compile
import shutil

import pytest

from collegium.planning.fingerprint import code_digest, distribution_digest
from collegium.running.lock import drift

PLUGIN = """
from collegium import component, hookimpl

@hookimpl
def register_verifiers():
    return [component("units", "acme_impl:Units", "Quantities.")]
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on the import path with a distribution of three top-level modules, as its list of files says."""
    site = tmp_path / "site"
    (site / "acme_units").mkdir(parents=True)
    (site / "acme_units/__init__.py").write_text("")
    (site / "acme_units/plugin.py").write_text(PLUGIN)
    (site / "acme_impl.py").write_text("import acme_helper\n")
    (site / "acme_helper.py").write_text("VALUE = 1\n")
    metadata = site / "acme_units-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-units\nVersion: 1.0\n")
    files = ["acme_units/__init__.py", "acme_units/plugin.py", "acme_impl.py", "acme_helper.py"]
    (metadata / "RECORD").write_text("".join(f"{name},,\n" for name in files))
    monkeypatch.syspath_prepend(site)
    assert importlib.metadata.version("acme-units") == "1.0"
    return site


def digest_now():
    code_digest.cache_clear()
    distribution_digest.cache_clear()
    return distribution_digest("acme-units", ("acme_units.plugin", "acme_impl"))


@pytest.mark.parametrize("name", ["acme_units/plugin.py", "acme_impl.py", "acme_helper.py", "acme_units/data.txt"])
def test_an_edit_of_any_module_is_another_code(site, name):
    before = digest_now()
    with (site / name).open("a") as file:
        file.write("# edited\n")
    assert digest_now() != before


def test_nothing_changes_while_nothing_is_edited(site):
    before = digest_now()
    py_compile.compile(site / "acme_units/plugin.py")
    assert digest_now() == before


def test_a_linked_folder_is_followed_and_a_loop_ends(site, tmp_path):
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "impl.py").write_text("VALUE = 1\n")
    (site / "acme_units/sub").symlink_to(outside)
    (outside / "again").symlink_to(site / "acme_units")
    before = digest_now()
    (outside / "impl.py").write_text("VALUE = 2\n")
    assert digest_now() != before


def test_bytecode_that_is_never_compared_with_its_source_counts(site):
    before = digest_now()
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    made = py_compile.compile(site / "acme_units/plugin.py", invalidation_mode=mode)
    assert digest_now() != before
    shutil.rmtree(site / "acme_units/__pycache__")
    assert made
    assert digest_now() == before


def test_a_library_that_a_package_stands_on_is_drift():
    rows = [
        {"distributions": {"acme-units": {"version": "1", "api": 1, "code": "c", "requires": {"pint": version}}}}
        for version in ("0.1", "0.2")
    ]
    assert drift(*rows) == ["package acme-units stands on pint: 0.1 -> 0.2"]
    assert drift(rows[0], rows[0]) == []


def test_the_cores_optional_engines_are_in_no_fingerprint_but_those_of_stages_that_use_them(monkeypatch):
    from importlib import metadata

    from collegium.planning import fingerprint

    asked = ["pluggy>=1.5", "torch>=2.6; extra == 'train'", "pluggy>=1; extra == 'lora'", "pytest>=1; extra == 'lora'"]
    monkeypatch.setattr(metadata, "requires", lambda name: asked)
    fingerprint.requirement_versions.cache_clear()
    ours = {name for name, _ in fingerprint.requirement_versions("collegium")}
    others = {name for name, _ in fingerprint.requirement_versions("acme")}
    fingerprint.requirement_versions.cache_clear()
    assert ours == {"pluggy", "torch"}
    assert others == {"pluggy", "torch", "pytest"}
