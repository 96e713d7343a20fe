"""The plugin is found through its real entry point, light, and conforms to the kit."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from collegium.plugins.registry import Registry
from collegium.testing.conformance.check import checks_for
from collegium.testing.conformance.subject import Subject

COMPONENTS = [
    ("reward", "composed"),
    ("reward", "rubric"),
    ("reward", "toggle-length"),
    ("reward", "length-cost"),
    ("reward", "length-penalty"),
    ("reward", "foreign-words"),
    ("loss", "adaptive-entropy"),
    ("engine", "length-curriculum"),
]
LIGHT = "import sys, collegium_rewards.plugin, collegium_rewards.configs, collegium_rewards.composed_config"


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_components_are_discovered_with_the_options_that_their_class_reads(kind, name):
    entry = Registry.discover().find(kind, f"collegium-rewards/{name}")
    assert entry.load().Config is entry.config_class()


def test_the_plugin_and_its_options_import_without_torch():
    assert subprocess.run([sys.executable, "-c", f"{LIGHT}; sys.exit('torch' in sys.modules)"]).returncode == 0


@pytest.fixture(scope="module")
def subjects() -> Iterator[dict[str, Subject]]:
    """One subject per component, whose costly traces its checks share."""
    made = {name: Subject(kind, f"collegium-rewards/{name}") for kind, name in COMPONENTS}
    yield made
    for subject in made.values():
        subject.close()


@pytest.mark.parametrize(
    ("name", "check"),
    [pytest.param(name, check, id=f"{name}-{check.name}") for kind, name in COMPONENTS for check in checks_for(kind)],
)
def test_every_component_conforms(subjects, name, check):
    result = check.run(subjects[name])
    assert result.status == "passed", result
