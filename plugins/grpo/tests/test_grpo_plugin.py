"""The plugin is found through its real entry point, and its options fail closed."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from collegium.plugins.registry import Registry

COMPONENTS = [
    ("loss", "clipped"),
    ("loss", "cispo"),
    ("advantage", "outcome"),
    ("advantage", "kl"),
    ("sampler", "dynamic"),
    ("sampler", "pass-rate"),
    ("loss", "windowed"),
]


@pytest.fixture(scope="module")
def registry():
    return Registry.discover()


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_components_are_discovered_with_the_options_that_their_class_reads(registry, kind, name):
    entry = registry.find(kind, f"collegium-grpo/{name}")
    assert entry.load().Config is entry.config_class()


def test_the_stage_is_registered(registry):
    assert registry.find("stage", "collegium-grpo/grpo").component.summary


def test_the_plugin_module_and_its_options_import_without_torch():
    code = "import sys, collegium_grpo.plugin, collegium_grpo.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("kind", "name", "options", "message"),
    [
        ("loss", "clipped", {"kl_estimator": "k1"}, "expected gradient of zero"),
        ("loss", "clipped", {"clip_lo": 0.1}, "clip_lo"),
        ("loss", "clipped", {"importance_low": 3.0}, "must be below importance_high"),
        ("loss", "cispo", {}, "clip_high"),
        ("advantage", "outcome", {"overlong": {"limit": 10, "buffer": 11}}, "longer than the limit"),
        ("advantage", "kl", {"coefficient": -1}, "coefficient"),
    ],
)
def test_wrong_options_are_refused_with_the_reason(registry, kind, name, options, message):
    with pytest.raises(ValidationError, match=message):
        registry.build(kind, f"collegium-grpo/{name}", options)
