"""`plugins show|list|doctor|trace`: what each says, in words and JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from collegium.cards.example import example_yaml
from collegium.component import KINDS
from collegium.events import RunFinished, RunStarted, StepFinished
from collegium.plugins import Registry, discover
from collegium.plugins.lifecycle import TRACE_VARIABLE, notify
from collegium.running.directory import RunDirectory

PLUGIN = """
from collegium import component, hookimpl

@hookimpl
def register_verifiers():
    return [component("units", "acme_units.verifier:Units", "Physical quantities.")]
"""
VERIFIER = '''
from collegium import Config, Score, Verifier

class UnitsConfig(Config):
    unit: str
    """Unit of the answers."""
    tolerance: float = 0.5
    """Relative tolerance."""

class Units(Verifier):
    """Judge."""

    Config = UnitsConfig

    def verify(self, completion, task):
        return Score(1.0)
'''
CARD = """
card: 1
contract: 1
components:
  verifier/units: {domains: [chemistry], sandbox: process, notes: SI only, example: {unit: mol}}
"""


def cli(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "collegium", *map(str, arguments)], capture_output=True, text=True, cwd=cwd
    )


@pytest.fixture
def units(make_plugin):
    """Install `acme-units` with a card."""

    def install(card=CARD):
        return make_plugin("acme-units", card=card, plugin=PLUGIN, verifier=VERIFIER)

    return install


def shown(name, cwd):
    done = cli("plugins", "show", name, "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_show_prints_card_options_and_an_example(units, tmp_path):
    units()
    done = cli("plugins", "show", "units", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in (
        "owner          not stated",
        "domains        chemistry",
        "sandbox        process",
        "notes          SI only",
    ):
        assert words in done.stdout
    assert "conformance    missing: there is no report (collegium check acme-units)" in done.stdout
    assert "unit (required)\n      Unit of the answers." in done.stdout
    assert "use: acme-units/units\n    unit: mol" in done.stdout


@pytest.mark.parametrize("name", ["units", "acme-units/units", "acme-units"])
def test_show_finds_a_component_by_its_names_and_a_distribution_by_its(units, tmp_path, name):
    folder = units()
    (folder / "measured.json").write_text('{"cases": 10, "false_positives": 1}')
    (found,) = shown(name, tmp_path)
    assert found["card"]["domains"] == ["chemistry"]
    assert found["measured"] == {"cases": 10, "false_positives": 1}
    assert found["conformance"]["state"] == "missing"
    assert found["options"]["required"] == ["unit"]
    assert yaml.safe_load(found["example"]) == {"verifier": {"use": "acme-units/units", "unit": "mol"}}


def test_show_prints_the_measured_rates_of_the_component(units, tmp_path):
    row = {"name": "labelled", "verifier": "acme-units/units", "options": {"unit": "mol"}, "cases": 90}
    rates = {"agreement": 0.9, "false_positives": 0, "false_negatives": 9, "source": "x"}
    other = {"name": "others", "verifier": "acme-units/other", "cases": 1}
    (units() / "measured.json").write_text(json.dumps({"schema": 1, "audits": [row | rates, other]}))
    done = cli("plugins", "show", "units", cwd=tmp_path)
    line = "measured       labelled (unit mol): cases 90, agreement 0.9, false positives 0, false negatives 9"
    assert line in done.stdout
    assert "others" not in done.stdout


def test_a_missing_card_is_said_and_no_error(units, tmp_path):
    units(card=None)
    done = cli("plugins", "show", "units", cwd=tmp_path)
    assert done.returncode == 0
    assert "card           no card" in done.stdout
    assert cli("plugins", "doctor", cwd=tmp_path).returncode == 0


def test_a_malformed_card_is_an_error_of_show_and_doctor(units, tmp_path):
    units(card=CARD.replace("sandbox", "sandbocks"))
    for command in (["show", "units"], ["doctor"]):
        done = cli("plugins", *command, cwd=tmp_path)
        assert done.returncode == 1
        assert "unknown key 'sandbocks' [acme-units]" in done.stdout


def test_show_of_a_broken_plugin_says_why(make_plugin, tmp_path):
    make_plugin("acme-broken", plugin="raise ValueError('broken at import')")
    done = cli("plugins", "show", "acme-broken", cwd=tmp_path)
    assert done.returncode == 2
    assert "broken at import" in done.stderr


def test_the_example_of_every_installed_component_is_valid_where_one_is_known():
    kinds = set()
    for entry in Registry.discover().entries():
        config = entry.config_class()
        text = example_yaml(entry.kind, entry.id, config)
        assert text.startswith("# ")
        content = yaml.safe_load(text)
        if "fill in" not in text and entry.kind not in ("stage", "tracker"):
            (options,) = content.values()
            assert options.pop("use") == entry.id
            config.model_validate(options)
            kinds.add(entry.kind)
    assert kinds >= {"verifier", "router", "loss", "task"}
    assert kinds <= set(KINDS)


def test_the_conformance_that_check_records_is_what_show_and_plan_see(make_plugin, recipe_file, acme_lab, tmp_path):
    plugin = PLUGIN.replace("units", "same").replace("Units", "Same")
    source = """
        from collegium import Error, Score, Verifier

        class Same(Verifier):
            def verify(self, completion, task):
                if not (task.reference or "").strip():
                    return Error("no reference")
                return Score(float(completion.text == task.reference))
        """
    card = "{card: 1, contract: 1, components: {verifier/same: {}}}"
    folder = make_plugin("acme-same", card=card, plugin=plugin, verifier=source)
    path = recipe_file(("seed: 5", "seed: 5\nrequires: {acme-same: {conformance: local}}"))
    before = cli("plan", path, cwd=tmp_path)
    assert before.returncode == 2
    assert "collegium check acme-same" in before.stderr
    done = cli("check", "acme-same", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert cli("plan", path, cwd=tmp_path).returncode == 0
    assert shown("acme-same", tmp_path)[0]["conformance"]["state"] == "passed"
    (folder / "verifier.py").write_text((folder / "verifier.py").read_text() + "\n# edited\n")
    after = cli("plan", path, cwd=tmp_path)
    assert after.returncode == 2
    assert "other code than what is installed" in after.stderr


def test_requirements_are_lines_for_pip(units, tmp_path):
    units()
    done = cli("plugins", "list", "--requirements", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert "acme-units==1.0" in lines
    assert lines == sorted(set(lines))
    assert json.loads(cli("plugins", "list", "--requirements", "--json", cwd=tmp_path).stdout) == lines


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "crashed the process (SIGKILL)"),
        ("import ctypes; ctypes.string_at(0)", "crashed the process (SIGSEGV)"),
        ("import posix; posix._exit(3)", "ended the process with exit code 3"),
        ("import time; time.sleep(60)", "was not done after 2 s"),
        ("def register_verifiers():\n    import posix; posix._exit(4)", "ended the process with exit code 4"),
    ],
)
def test_doctor_survives_a_plugin_that_would_end_or_hold_up_the_process(make_plugin, tmp_path, source, cause):
    make_plugin("acme-fatal", plugin=source)
    make_plugin("acme-zebra", plugin="raise ValueError('broken at import')")
    done = cli("plugins", "doctor", "--json", "--timeout", 2, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    rows = {row["distribution"]: row for row in json.loads(done.stdout)}
    assert (rows["acme-fatal"]["status"], cause in rows["acme-fatal"]["cause"]) == ("failed", True)
    assert "broken at import" in rows["acme-zebra"]["cause"]
    assert rows["collegium"]["status"] == "loaded"


@pytest.mark.parametrize(
    "source",
    ["import os; os._exit(0)", "import os\ndef register_verifiers():\n    os._exit(0)"],
    ids=["at import", "in a hook"],
)
def test_os_exit_at_discovery_is_a_failed_plugin(make_plugin, tmp_path, source):
    before = os._exit
    make_plugin("acme-leaver", plugin=source)
    (record,) = [each for each in discover()[1] if each.distribution == "acme-leaver"]
    assert record.status == "failed"
    assert "it called os._exit(0)" in record.cause
    assert os._exit is before
    assert "failed to load: acme-leaver" in cli("plugins", "list", cwd=tmp_path).stderr


def test_a_child_of_a_plugin_may_still_exit(make_plugin):
    source = "import os\nchild = os.fork()\nif not child: os._exit(7)\nCODE = os.waitpid(child, 0)[1] >> 8"
    make_plugin("acme-forks", plugin=source)
    (record,) = [each for each in discover()[1] if each.distribution == "acme-forks"]
    assert (record.status, sys.modules["acme_forks.plugin"].CODE) == ("loaded", 7)


def test_what_a_hook_prints_does_not_mix_with_json(make_plugin, tmp_path):
    make_plugin("acme-prints", plugin="def register_verifiers():\n    print('hello')\n    return []")
    assert json.loads(cli("plugins", "list", "--json", cwd=tmp_path).stdout)


def test_trace_names_imports_and_hook_calls_with_times(units, tmp_path):
    units()
    traced = json.loads(cli("plugins", "trace", "--json", cwd=tmp_path).stdout)
    (row,) = [row for row in traced["plugins"] if row["distribution"] == "acme-units"]
    assert row["import_ms"] >= 0
    (call,) = row["hooks"]
    assert (call["hook"], call["components"]) == ("register_verifiers", 1)
    assert traced["planning"] == []


def test_trace_of_a_recipe_names_what_planning_imports(acme_lab, recipe_file, tmp_path):
    path = recipe_file()
    traced = json.loads(cli("plugins", "trace", path, "--json", cwd=tmp_path).stdout)
    modules = [row["module"] for row in traced["planning"]]
    assert {"acme_lab.configs", "acme_lab.light"} <= set(modules)
    assert "acme_lab.stages" not in modules
    assert len(modules) == len(set(modules))
    assert "planning imports acme_lab.configs  [acme-lab]" in cli("plugins", "trace", path, cwd=tmp_path).stdout


LISTENER = """
from collegium import hookimpl

@hookimpl
def before_run(event):
    pass

@hookimpl
def after_step(event):
    1 / 0
"""


@pytest.fixture
def traced_run(make_plugin, tmp_path, monkeypatch):
    """Return a function that begins and steps a run, and gives its hook calls."""
    make_plugin("acme-listens", plugin=LISTENER)
    monkeypatch.setenv("COLLEGIUM_TRACE_DIRECTORY", "")

    def run():
        registry = Registry.discover()
        directory = RunDirectory.create(tmp_path / "run", {})
        notify(registry, "before_run", RunStarted(str(directory.path), {}))
        notify(registry, "after_step", StepFinished("sft", 1, {}))
        notify(registry, "after_run", RunFinished(str(directory.path), {}))
        directory.release()
        return [event for event in directory.events() if event["plugin"] == "acme-listens"]

    return run


def test_a_traced_run_notes_each_hook_call_with_its_plugin_and_seconds(traced_run, monkeypatch):
    monkeypatch.setenv(TRACE_VARIABLE, "1")
    first, second = traced_run()
    assert (first["event"], first["hook"], "failed" in first) == ("hook-called", "before_run", False)
    assert (second["hook"], second["failed"]) == ("after_step", "ZeroDivisionError: division by zero")
    assert first["seconds"] >= 0


def test_calls_in_a_process_that_the_run_starts_are_noted_too(traced_run, monkeypatch):
    monkeypatch.setenv(TRACE_VARIABLE, "1")
    traced_run()
    code = (
        "from collegium.events import StepFinished\nfrom collegium.plugins import Registry\n"
        "from collegium.plugins.lifecycle import notify\n"
        "notify(Registry.discover(), 'after_step', StepFinished('sft', 2, {}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    directory = RunDirectory(Path(os.environ["COLLEGIUM_TRACE_DIRECTORY"]))
    assert [e["hook"] for e in directory.events() if e["plugin"] == "acme-listens"][2:] == ["after_step"]


def test_a_trace_that_cannot_be_written_stops_no_run(traced_run, monkeypatch, caplog):
    monkeypatch.setenv(TRACE_VARIABLE, "1")
    traced_run()
    monkeypatch.setenv("COLLEGIUM_TRACE_DIRECTORY", "/nowhere/at/all")
    notify(Registry.discover(), "after_step", StepFinished("sft", 2, {}))
    assert "could not be noted" in caplog.text


def test_an_untraced_run_notes_none(traced_run, monkeypatch):
    monkeypatch.setenv(TRACE_VARIABLE, "0")
    assert traced_run() == []
