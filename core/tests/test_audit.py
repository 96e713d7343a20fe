"""The audit finds what is planted: wrong verdicts, forms that matter, exploits, instability."""

from __future__ import annotations

import json
import time

import pytest
from click.testing import CliRunner

from collegium import Abstain, Completion, Config, Score, Task, Verifier
from collegium.audit import AuditSpec, Depth, run_audit, white_space
from collegium.audit.probes import endless_probes, probes
from collegium.audit.variants import changed_numbers
from collegium.cli.main import cli
from collegium.errors import ConfigError, RecipeError
from collegium.kinds.perturbation import Perturbation
from collegium.plugins import Registry
from collegium.testing.conformance.cases import read_cases

PLUGIN = """
from collegium import component, hookimpl

@hookimpl
def register_verifiers():
    return [component(name, f"test_audit_verifiers:{cls}", "For tests.") for name, cls in {NAMES}.items()]
"""
CASES = read_cases(
    [
        {"id": "right", "prompt": "1+1=", "completion": "2", "reference": "2", "expected": 1},
        {"id": "right in words", "prompt": "2+2=", "completion": "it is 4", "reference": "4", "expected": 1},
        {"id": "wrong", "prompt": "1+2=", "completion": "4", "reference": "3", "expected": 0},
        {"id": "input only", "prompt": "1+5=", "completion": "?", "reference": "6"},
    ]
)


class Sound(Verifier):
    """The last word is the reference."""

    def verify(self, completion, task):
        return Score(float(completion.text.split()[-1:] == [task.reference]))

    def perturbations(self, completion, task):
        return white_space(completion, task)


class Generous(Sound):
    """Passes all that holds a digit."""

    def verify(self, completion, task):
        return Score(float(any(character.isdigit() for character in completion.text)))


class Exact(Sound):
    """Promises that white space does not matter, and compares exactly."""

    def verify(self, completion, task):
        return Score(float(completion.text == task.reference))


class FailsOpen(Sound):
    """Passes what it cannot read."""

    def verify(self, completion, task):
        words = completion.text.split()
        return Score(1.0) if not words else super().verify(completion, task)


class Moody(Sound):
    """Changes its mind."""

    deterministic = False
    calls = 0

    def verify(self, completion, task):
        type(self).calls += 1
        return Score(float(self.calls <= 3))


class Shy(Sound):
    """Abstains on long answers, raises on wrong ones."""

    def verify(self, completion, task):
        if len(completion.text) > 3:
            return Abstain("too long")
        if completion.text != task.reference:
            raise RuntimeError("I do not like it")
        return Score(1.0)


class Options(Sound):
    class Config(Config):
        mode: str = "strict"
        """Strict or loose."""


class Sleeper(Sound):
    timeout_s = 0.05

    def verify(self, completion, task):
        if "import" in completion.text:
            time.sleep(0.5)
        return super().verify(completion, task)


class FormOnly(Sound):
    """Any text with a word in it is in form."""

    form_only = True

    def verify(self, completion, task):
        return Score(float(bool(completion.text.split())))


class BadHelper(Sound):
    """Judges well; what it says of rewritings is no help."""

    timeout_s = 0.2

    class Config(Config):
        how: str = "raise"
        """What it does instead."""

    def perturbations(self, completion, task):
        match self.config.how:
            case "raise":
                raise RuntimeError("no idea")
            case "junk":
                return ["not a perturbation"]
            case "none":
                return None
            case "hang":
                time.sleep(1)
            case "endless":
                return iter(lambda: Perturbation("again", "2 again", changes_value=True), None)
        return ()

    def close(self):
        raise RuntimeError("cannot close")


VERIFIERS = {
    cls.__name__.lower(): cls
    for cls in (Sound, Generous, Exact, FailsOpen, Moody, Shy, Options, Sleeper, FormOnly, BadHelper)
}


@pytest.fixture
def registry(make_plugin, monkeypatch):
    import sys

    names = {name: cls.__name__ for name, cls in VERIFIERS.items()}
    make_plugin("acme-audited", plugin=PLUGIN.replace("{NAMES}", repr(names)))
    monkeypatch.setitem(sys.modules, "test_audit_verifiers", sys.modules[__name__])
    return Registry.discover()


def audit(registry, name, **changes):
    depth = changes.pop("depth", None)
    against = changes.pop("against", None)
    return run_audit(AuditSpec("toy", name, CASES, **changes), registry, depth, against)


def test_a_sound_verifier_has_nothing_to_report(registry):
    report = audit(registry, "sound")
    assert (report.cases, report.positives, report.agreement) == (3, 2, 1.0)
    assert report.disagreements == report.unstable == []
    assert (report.false_positive_rate, report.false_negative_rate) == (0.0, 0.0)
    assert report.perturbations.tried == 2 * 3 + 2 * 2
    assert report.perturbations.lost == report.perturbations.kept == []
    assert report.exploits.tried > 50
    assert report.exploits.passed == report.exploits.errors == []
    assert report.latency["max"] >= report.latency["p50"] > 0


def test_false_positives_and_changed_values_that_pass_are_found(registry):
    report = audit(registry, "generous")
    assert report.false_positives == ["wrong"]
    assert report.agreement == pytest.approx(2 / 3)
    assert report.false_positive_rate == 1.0
    assert "right/value: one more" in report.perturbations.kept
    assert "right/all small numbers" in report.exploits.passed
    assert "right/prompt echoed" in report.exploits.passed


def test_false_negatives_and_forms_that_matter_are_found(registry):
    report = audit(registry, "exact")
    assert report.false_negatives == ["right in words"]
    assert "right/newline after" in report.perturbations.lost
    assert report.perturbations.kept == []


def test_a_verifier_that_fails_open_is_caught_by_the_probes(registry):
    report = audit(registry, "failsopen")
    assert report.agreement == 1.0
    assert {"right/empty", "right/white space", "input only/empty"} <= set(report.exploits.passed)


def test_of_a_verifier_of_form_no_more_is_asked_than_that_nothing_passes_for_nothing(registry):
    report = audit(registry, "formonly")
    assert report.exploits.tried == 3 * 4
    assert {name.partition("/")[2] for name in report.exploits.passed} == {"zero-width characters"}


@pytest.mark.parametrize("how", ["raise", "junk", "none", "hang", "endless"])
def test_a_verifier_whose_other_methods_fail_keeps_its_figures(registry, how, caplog):
    report = audit(registry, "badhelper", options={"how": how}, depth=Depth(exploits=0))
    assert report.agreement == 1.0
    assert bool(report.perturbations.errors) is (how != "endless")
    assert "close() failed" in caplog.text


def test_abstentions_and_errors_are_told_apart_with_their_reasons(registry):
    report = audit(registry, "shy", depth=Depth(exploits=0))
    assert (report.abstained, report.errors) == (["right in words"], ["wrong"])
    assert report.reasons["right in words"] == "too long"
    assert "I do not like it" in report.reasons["wrong"]
    assert report.exploits is None


def test_a_verdict_that_changes_is_found(registry):
    Moody.calls = 0
    assert audit(registry, "moody").unstable


def test_a_probe_over_the_time_limit_is_an_error_of_the_verifier(registry):
    report = audit(registry, "sleeper", depth=Depth(exploits=1))
    assert any("exit 0" in line and "still running" in line for line in report.exploits.errors)


def test_two_verifiers_are_compared_case_by_case(registry):
    found = audit(registry, "sound", against="generous").comparison
    assert found.other == "acme-audited/generous"
    assert (found.both_pass, found.both_fail) == (2, 0)
    assert (found.only_this, found.only_other) == ([], ["wrong"])
    assert found.other_agreement == pytest.approx(2 / 3)
    assert found.other_false_positives == ["wrong"]
    assert audit(registry, "sound", against="shy").comparison.undecided == ["right in words", "wrong"]


def test_a_baseline_is_any_function_of_a_case(registry):
    found = audit(registry, "sound", baseline=lambda case: True, baseline_name="always").comparison
    assert (found.other, found.only_other) == ("always", ["wrong"])


def test_an_unknown_verifier_or_option_and_a_label_between_are_refused(registry):
    with pytest.raises(RecipeError, match="unknown verifier 'nobody'"):
        audit(registry, "nobody")
    with pytest.raises(RecipeError, match="unknown key 'mood'"):
        audit(registry, "options", options={"mood": "loose"})
    half = read_cases([{"id": "half", "completion": "2", "reference": "2", "expected": 0.5}])
    with pytest.raises(ConfigError, match="'half'"):
        run_audit(AuditSpec("toy", "sound", half), registry)


@pytest.mark.parametrize(
    ("text", "reference", "expected"),
    [
        ("it is 41", "41", {"it is 42", "it is 417"}),
        ("41 is 41", "41", set()),  # which one is the answer?
        ("it is 410", "41", set()),
        ("-0.5", "-0.5", {"1.5", "-0.57"}),
        ("x", "x", set()),
    ],
)
def test_a_value_is_changed_only_where_it_is_the_answer(text, reference, expected):
    found = {each.text for each in changed_numbers(Completion(text), Task("a", "?", reference))}
    if text == "-0.5":
        assert "-0.57" in found
        assert not any(float(each) == -0.5 for each in found)
    else:
        assert found == expected


def test_code_probes_define_the_function_that_the_tests_call():
    task = Task("a", "?", data={"tests": ["assert set(add_up(1, 2)) == {3}", "assert add_up(0, 0) == 0"]})
    texts = dict(probes(task)) | dict(endless_probes(task))
    assert "def add_up(" in texts["equal to everything"]
    assert "def add_up(" in texts["endless loop"]
    for name in ("equal to everything", "grader overwritten", "exit 0", "endless loop"):
        compile(texts[name], name, "exec")


def invoke(*arguments):
    return CliRunner().invoke(cli, ["audit", *map(str, arguments)])


@pytest.fixture
def cases(tmp_path):
    path = tmp_path / "cases.jsonl"
    path.write_text("".join(case.model_dump_json() + "\n" for case in CASES))
    return path


def test_the_command_prints_the_keys_that_others_read(registry, cases, tmp_path):
    done = invoke("generous", "--cases", cases, "--json", "--out", tmp_path / "out.json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["cases"] == 3
    assert found["false_positives"] == ["wrong"]
    assert found["false_negatives"] == found["abstained"] == found["errors"] == []
    assert found["agreement"] == pytest.approx(2 / 3)
    assert found["seconds"] > 0
    assert json.loads((tmp_path / "out.json").read_text()) == found


def test_the_command_says_it_in_words_and_fails_under_a_demanded_agreement(registry, cases):
    done = invoke("generous", "--cases", cases, "--fail-under", "0.9")
    assert done.exit_code == 1
    assert "false positives: 1\n    wrong" in done.stdout
    assert "pass all the same" in done.stdout
    assert invoke("sound", "--cases", cases, "--fail-under", "0.9").exit_code == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"id": "a", "completion": "2", "expected": 1}\nnot json\n', "cases.jsonl:2"),
        ('{"id": "a"}\n', "cases.jsonl:1: not a case: completion"),
        ("", "cases.jsonl"),
    ],
)
def test_a_malformed_file_of_cases_is_named_with_its_line(registry, cases, content, words):
    cases.write_text(content)
    done = invoke("sound", "--cases", cases)
    assert words in str(done.exception)


def test_ids_that_are_not_unique_are_said_and_a_missing_folder_before_anything_runs(registry, cases, tmp_path):
    cases.write_text(cases.read_text() * 2)
    assert "4 ids of" in invoke("sound", "--cases", cases).stderr
    assert "there is no folder" in str(invoke("sound", "--cases", cases, "--out", tmp_path / "no/out.json").exception)


@pytest.mark.parametrize("option", ["--fail-under", "--threshold"])
def test_a_bound_that_is_no_number_is_refused(registry, cases, option):
    assert "found nan" in str(invoke("sound", "--cases", cases, option, "nan").exception)


def test_the_figures_are_shown_before_a_file_that_cannot_be_written(registry, cases):
    done = invoke("sound", "--cases", cases, "--out", "/dev/full/x.json")
    assert done.exception is not None
    done = invoke("sound", "--cases", cases, "--out", "/proc/x.json")
    assert "agreement 100.00%" in done.stdout
    assert done.exception is not None


def test_the_other_verifier_has_options_of_its_own(registry, cases):
    done = invoke("sound", "--cases", cases, "--against", "options", "--against-set", "mode=loose", "--json")
    assert json.loads(done.stdout)["comparison"]["other"] == "acme-audited/options"
    refused = invoke("sound", "--cases", cases, "--against", "options", "--against-set", "mood=loose")
    assert "unknown key 'mood'" in str(refused.exception)


def test_a_malformed_setting_is_refused(registry, cases):
    assert "KEY=VALUE" in str(invoke("options", "--cases", cases, "--set", "mode").exception)
    assert invoke("options", "--cases", cases, "--set", "mode=loose").exit_code == 0
