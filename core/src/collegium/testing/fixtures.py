"""Pytest fixtures: a registry of what is installed, and throw-away plugin distributions."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from collegium.plugins.registry import Registry

PluginFactory: TypeAlias = Callable[..., Path]


@pytest.fixture
def installed_registry() -> Registry:
    """Return a registry of every installed plugin."""
    return Registry.discover()


@pytest.fixture
def make_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PluginFactory]:
    """Return a function that installs a throw-away distribution with a `collegium` entry point.

    ``make_plugin("acme-units", plugin="...source of plugin.py...", verifier="...")`` writes the modules into package
    ``acme_units`` and its metadata into a folder that is on `sys.path` (and on PYTHONPATH, for subprocesses).
    ``card="..."`` writes the package's card.yaml.
    """
    site = tmp_path / "plugin-site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    made: list[str] = []

    def make(distribution: str, *, version: str = "1.0", card: str | None = None, **modules: str) -> Path:
        package = distribution.replace("-", "_")
        made.append(package)
        folder = site / package
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").write_text("", encoding="utf-8")
        for name, source in modules.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        if card is not None:
            (folder / "card.yaml").write_text(textwrap.dedent(card), encoding="utf-8")
        for old in site.glob(f"{package}-*.dist-info"):
            for file in old.iterdir():
                file.unlink()
            old.rmdir()
        metadata = site / f"{package}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n", encoding="utf-8"
        )
        (metadata / "entry_points.txt").write_text(
            f"[collegium]\n{distribution} = {package}.plugin\n", encoding="utf-8"
        )
        return folder

    yield make
    for name in [module for module in sys.modules if module.partition(".")[0] in made]:
        del sys.modules[name]
