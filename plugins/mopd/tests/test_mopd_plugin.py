"""The plugin is found through its real entry point, and its options fail closed."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from collegium.plugins.registry import Registry

COMPONENTS = [
    ("loss", "sampled-token"),
    ("loss", "reverse-kl"),
    ("loss", "top-k"),
    ("advantage", "distill"),
    ("router", "by-domain"),
    ("router", "by-field"),
    ("router", "by-task-field"),
    ("weighter", "uniform"),
    ("weighter", "balanced"),
]


@pytest.fixture(scope="module")
def registry():
    return Registry.discover()


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_components_are_discovered_with_the_options_that_their_class_reads(registry, kind, name):
    entry = registry.find(kind, f"collegium-mopd/{name}")
    assert entry.load().Config is entry.config_class()


def test_the_stage_is_registered(registry):
    assert registry.find("stage", "collegium-mopd/mopd").component.summary


def test_everything_that_the_plan_imports_comes_without_torch():
    modules = ("plugin", "config", "routers", "weighters")
    code = (
        "import sys, " + ", ".join(f"collegium_mopd.{name}" for name in modules) + "; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("kind", "name", "options", "message"),
    [
        ("loss", "sampled-token", {"ratio_low": 1.5}, "must hold 1"),
        ("loss", "top-k", {"k": 0}, "greater than or equal to 1"),
        ("loss", "reverse-kl", {"k": 3}, "k"),
        ("advantage", "distill", {"clip": 0}, "clip"),
        ("router", "by-task-field", {}, "field"),
        ("weighter", "balanced", {"targets": {"math": 0.0}}, "must be positive"),
    ],
)
def test_wrong_options_are_refused_with_the_reason(registry, kind, name, options, message):
    with pytest.raises(ValidationError, match=message):
        registry.build(kind, f"collegium-mopd/{name}", options)
