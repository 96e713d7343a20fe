"""Discovery and the plugin contract."""

from __future__ import annotations

import subprocess
import sys

import pytest

from collegium.errors import PluginCollision, PluginLoadError, PluginNotFound
from collegium.plugins import Registry, discover

GOOD = """
from collegium import component, hookimpl

@hookimpl
def register_verifiers():
    return [component("units", "acme_units.verifier:UnitsVerifier", "Physical quantities.")]
"""
VERIFIER = """
from collegium import Config, Score, Verifier

class UnitsVerifier(Verifier):
    class Config(Config):
        tolerance: float = 1e-6

    def verify(self, completion, task):
        return Score(1.0)
"""


def record_of(name):
    return next(record for record in discover()[1] if record.distribution == name)


def test_a_plugin_is_found_and_its_component_built_with_its_options(make_plugin):
    make_plugin("acme-units", plugin=GOOD, verifier=VERIFIER)
    registry = Registry.discover()
    for name in ("units", "acme-units/units", "Acme_Units/units"):
        assert registry.build("verifier", name, {"tolerance": 0.5}).config.tolerance == 0.5


def test_discovery_does_not_import_components(make_plugin):
    make_plugin("acme-units", plugin=GOOD, verifier="raise RuntimeError('imported too early')")
    registry = Registry.discover()
    entry = registry.find("verifier", "units")
    with pytest.raises(PluginLoadError, match="imported too early") as caught:
        entry.load()
    assert caught.value.owner == "acme-units"


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("raise ValueError('broken at import')", "ValueError: broken at import"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import no_such_library", "ModuleNotFoundError"),
        ("collegium_api = 2", "speaks contract 2, this core speaks 1: upgrade collegium"),
        ("collegium_api = 0", "upgrade acme-units"),
        ("from collegium import hookimpl\n@hookimpl\ndef register_gadgets(): return []", "register_gadgets"),
        ("from collegium import hookimpl\n@hookimpl\ndef after_step(event, extra): pass", "extra"),
        ("from collegium import hookimpl\n@hookimpl\ndef register_losses(): return ['x']", "must return component"),
        (
            "from collegium import hookimpl, component\n@hookimpl\ndef register_losses():\n"
            "    return [component('a', 'b:c', 'd'), component('a', 'b:d', 'e')]",
            "twice",
        ),
        (
            "from collegium import hookimpl, component\n@hookimpl\ndef register_losses():\n"
            "    return [component('Bad Name', 'b:c', 'd')]",
            "lower case",
        ),
    ],
)
def test_a_broken_plugin_is_a_record_with_its_cause_and_harms_nobody(make_plugin, source, cause):
    make_plugin("acme-units", plugin=source)
    make_plugin("other-units", plugin=GOOD.replace("acme_units", "other_units"), verifier=VERIFIER)
    record = record_of("acme-units")
    assert record.status == "failed"
    assert cause in record.cause
    assert Registry.discover().build("verifier", "units").config.tolerance == 1e-6


def test_what_a_broken_plugin_offers_is_not_found_with_its_cause(make_plugin):
    make_plugin("acme-units", plugin="raise ValueError('broken at import')")
    with pytest.raises(PluginNotFound, match="broken at import") as caught:
        Registry.discover().find("verifier", "acme-units/units")
    assert caught.value.owner == "acme-units"


def test_a_short_name_of_two_packages_is_an_error_that_names_both(make_plugin):
    make_plugin("acme-units", plugin=GOOD, verifier=VERIFIER)
    make_plugin("other-units", plugin=GOOD.replace("acme_units", "other_units"), verifier=VERIFIER)
    registry = Registry.discover()
    with pytest.raises(PluginCollision, match="acme-units/units or other-units/units"):
        registry.find("verifier", "units")
    assert registry.find("verifier", "other-units/units").record.distribution == "other-units"


def test_a_core_name_cannot_be_shadowed(make_plugin):
    source = GOOD.replace("register_verifiers", "register_engines").replace('"units"', '"transformers"')
    make_plugin("acme-units", plugin=source, verifier=VERIFIER)
    registry = Registry.discover()
    record = registry.record("acme-units")
    assert record is not None
    assert record.status == "failed"
    assert "engine 'transformers', which the core owns" in record.cause
    assert registry.find("engine", "transformers").record.distribution == "collegium"


def test_a_missing_package_comes_with_the_pip_line():
    with pytest.raises(PluginNotFound) as caught:
        Registry.discover().find("verifier", "acme-nowhere/units")
    assert "pip install acme-nowhere" in str(caught.value)


def test_a_misspelt_component_gets_the_nearest_name(make_plugin):
    make_plugin("acme-units", plugin=GOOD, verifier=VERIFIER)
    with pytest.raises(PluginNotFound, match="did you mean 'units'"):
        Registry.discover().find("verifier", "unitz")


def test_a_blocked_plugin_is_not_imported(make_plugin, monkeypatch):
    make_plugin("acme-units", plugin="raise ValueError('imported')")
    monkeypatch.setenv("COLLEGIUM_NO_PLUGIN", "acme_units")
    assert record_of("acme-units").status == "blocked"


def test_a_component_that_is_no_class_of_the_framework_is_refused(make_plugin):
    make_plugin("acme-units", plugin=GOOD, verifier="def UnitsVerifier(): ...")
    with pytest.raises(PluginLoadError, match="must be a class"):
        Registry.discover().find("verifier", "units").load()


def test_lifecycle_hooks_are_called_and_a_failing_one_is_reported_not_raised(make_plugin, caplog):
    from collegium.events import StepFinished
    from collegium.plugins.lifecycle import notify

    source = "from collegium import hookimpl\nseen = []\n@hookimpl\ndef after_step(event): seen.append(event.step)"
    make_plugin("acme-good", plugin=source)
    make_plugin("acme-bad", plugin="from collegium import hookimpl\n@hookimpl\ndef after_step(): 1 / 0")
    notify(Registry.discover(), "after_step", StepFinished("sft", 7, {}))
    assert sys.modules["acme_good.plugin"].seen == [7]
    assert "acme-bad: after_step failed: ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("arguments", [["--help"], ["plugins", "list"], ["plugins", "doctor"]])
def test_the_command_line_stays_light_and_works_beside_a_broken_plugin(make_plugin, arguments):
    make_plugin("acme-broken", plugin="raise ValueError('broken at import')")
    code = (
        "import sys\nfrom collegium.cli.main import cli\n"
        f"try: cli.main({arguments!r}, standalone_mode=False)\nexcept BaseException as e: print(type(e).__name__, e)\n"
        "print('HEAVY', sorted({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("HEAVY []")
    if arguments == ["plugins", "doctor"]:
        assert "broken at import" in done.stdout
