"""The kit's own examination: a sound package passes, and every trap planted in it is caught by the check meant for it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from collegium.testing.conformance import Result, Subject, check_component, checks_for

PLUGIN = """
from collegium import component, hookimpl

@hookimpl
def register_verifiers():
    return [component("units", "acme_units.verifier:Units", "A number, equal up to a tolerance, and its form.")]
"""
VERIFIER = '''
import math
import time
from pathlib import Path
from collegium import Abstain, Completion, Config, Error, Score, Task, Verifier

CHECKS = {
    "min_words": lambda text, n: len(text.split()) >= n,
    "max_words": lambda text, n: len(text.split()) <= n,
    "contains": lambda text, n: str(n) in text,
}


class Units(Verifier):
    """Judge a number by the reference, or constraints by the data."""

    class Config(Config):
        """Options."""

        tolerance: float = 1e-6
        """Relative tolerance."""
        table: Path | None = None
        """Units and their factors."""
        names_file: str | None = None
        """A file of names that are no units."""

        def content_paths(self):
            return [Path(each) for each in (self.table, self.names_file) if each]

    def verify(self, completion, task):
        if completion.text == "hang":
            time.sleep(10)
        if "constraints" in task.data:
            return self.by_constraints(completion.text, task)
        gold = number(task.reference)
        if gold is None:
            return Error(f"task {task.id!r}: no number in reference {task.reference!r}")
        found = number(completion.text)
        if found is None:
            return Score(0.0)
        return Score(float(abs(found - gold) <= self.config.tolerance * abs(gold)))

    def by_constraints(self, text, task):
        pairs = list(zip(task.data["constraints"], task.data["values"], strict=True))
        unknown = [name for name, _ in pairs if name not in CHECKS]
        if unknown:
            return Error(f"unknown constraints {unknown}")
        return Score(float(all(CHECKS[name](text, value) for name, value in pairs)))


def number(text):
    try:
        value = float((text or "").split()[-1])
    except (ValueError, IndexError):
        return None
    return value if math.isfinite(value) else None
'''
CARD = """
card: 1
contract: 1
components:
  verifier/units:
    domains: [chemistry]
    deterministic: true
    network: false
    writes_files: false
    sandbox: none
    example: {tolerance: 0.001}
"""
CASES = [
    {"id": "right", "prompt": "7 * 6?", "completion": "It is 42", "reference": "42", "expected": 1},
    {"id": "close", "prompt": "1 / 3?", "completion": "0.33333333", "reference": "0.333333333", "expected": 1},
    {"id": "wrong", "prompt": "7 * 6?", "completion": "It is 41", "reference": "42", "expected": 0},
    {"id": "none", "prompt": "7 * 6?", "completion": "no idea", "reference": "42", "expected": 0},
    {
        "id": "form",
        "completion": "one two three",
        "expected": 1,
        "task": {"constraints": ["min_words", "contains"], "values": [2, "two"]},
    },
    {"id": "hangs", "completion": "hang", "reference": "42", "hangs": True},
]
ZIP_ALL = "return Score(float(all(CHECKS[name](text, value) for name, value in pairs)))"
SCORE = "        return Score(float(abs(found - gold) <= self.config.tolerance * abs(gold)))"
GOLD = """            return Error(f"task {task.id!r}: no number in reference {task.reference!r}")"""
VERIFY = "    def verify(self, completion, task):\n"
BATCH = "\n    def verify_batch(self, completions, tasks):\n"
CONTENT = "for each in (self.table, self.names_file) if each"
LOOP = "[self.verify(c, t) for c, t in zip(completions, tasks, strict=True)]"


@dataclass(frozen=True)
class Mutant:
    """A trap: what is replaced where, and the check that must catch it."""

    name: str
    old: str
    new: str
    caught_by: str
    module: str = "verifier"


def before(text: str, caught_by: str, name: str) -> Mutant:
    """Put statements at the start of `verify`."""
    lines = "".join(f"        {line}\n" for line in text.splitlines())
    return Mutant(name, VERIFY, VERIFY + lines, caught_by)


def batch(body: str, caught_by: str, name: str) -> Mutant:
    """Add a `verify_batch`."""
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    return Mutant(name, VERIFY, BATCH.lstrip("\n") + lines + "\n" + VERIFY, caught_by)


CARDS = [
    ("missing", CARD, ""),
    ("no mapping", CARD, "- card: 1"),
    ("no YAML", "components:", "components: ["),
    ("unknown key", "sandbox: none", "sandbox: none\n    sandboxed: true"),
    ("unknown kind", "verifier/units", "verifyer/units"),
    ("other contract", "contract: 1", "contract: 2"),
    ("a component without an entry", "verifier/units", "verifier/other"),
    ("an entry without a component", "  verifier/units:", "  reward/units: {}\n  verifier/units:"),
    ("determinism denied", "deterministic: true", "deterministic: false"),
    ("network claimed", "network: false", "network: true"),
    ("files claimed", "writes_files: false", "writes_files: true"),
    ("example with an unknown option", "{tolerance: 0.001}", "{tolerence: 0.001}"),
    ("example out of type", "{tolerance: 0.001}", "{tolerance: small}"),
    ("a teacher's fields on a verifier", "sandbox: none", "think_mode: think"),
]
MUTANTS = [
    Mutant("unparseable gold scored 1", GOLD, "            return Score(1.0)", "unparseable-reference-not-full"),
    Mutant("missing gold scored 0", GOLD, "            return Score(0.0)", "missing-reference-refused"),
    Mutant(
        "unknown constraint falls through to true",
        '            return Error(f"unknown constraints {unknown}")\n',
        "            pairs = [pair for pair in pairs if pair[0] in CHECKS]\n",
        "unknown-names-not-full",
    ),
    Mutant(
        "repeated constraints overwrite each other",
        ZIP_ALL,
        "return Score(float(all(CHECKS[name](text, value) for name, value in dict(pairs).items())))",
        "repeated-names-all-count",
    ),
    Mutant(
        "repeated constraints: only the first counts",
        ZIP_ALL,
        "return Score(float(all(CHECKS[name](text, value) for name, value in dict(pairs[::-1]).items())))",
        "repeated-names-all-count",
    ),
    batch(
        f"found = {LOOP}\n"
        "kept = [v for v, c, t in zip(found, completions, tasks) if t.data or number(c.text) is not None]\n"
        "return kept + [Score(0.0)] * (len(found) - len(kept))",
        "batch-equals-items",
        "one failed extraction shifts every later reward",
    ),
    batch(f"return {LOOP}[:-1]", "batch-length", "wrong-length list"),
    batch(f"return {LOOP}[0]", "batch-length", "one verdict for the batch"),
    batch(f"return sorted({LOOP}, key=repr)", "batch-order", "order of the batch lost"),
    Mutant("NaN score", SCORE, "        return Score(float('nan'))", "verdict-types"),
    Mutant(
        "NaN past the constructor",
        SCORE,
        "        found = Score(0.0)\n        object.__setattr__(found, 'value', float('nan'))\n        return found",
        "verdict-types",
    ),
    Mutant("score of 2", SCORE, "        return Score(2.0)", "verdict-types"),
    Mutant("bool instead of a verdict", SCORE, "        return found == gold", "verdict-types"),
    Mutant("None instead of a verdict", SCORE, "        return None", "verdict-types"),
    before(
        "import random\nif random.random() < 0.5:\n    return Score(0.0)", "deterministic-verdicts", "nondeterministic"
    ),
    before("completion.text[0]", "hostile-completions", "raises on empty"),
    before("completion.text.encode()", "hostile-completions", "raises on lone surrogates"),
    before(
        "if len(completion.text) > 100_000:\n    raise ValueError('too long')",
        "huge-completions",
        "raises on a megabyte",
    ),
    Mutant("network declared on the class only", VERIFY, "    network = True\n\n" + VERIFY, "card"),
    before("import signal\nsignal.alarm(60)\nsignal.alarm(0)", "no-signals", "signal.alarm"),
    before(
        "import signal\nsignal.signal(signal.SIGALRM, lambda *_: None)",
        "hostile-completions",
        "signal handler in a thread",
    ),
    before("open('log.txt', 'a').close()", "no-files-written", "writes a file"),
    before("import socket\nsocket.socket().close()", "no-network", "opens a socket"),
    Mutant("heavy import at discovery", "from collegium", "import numpy\nfrom collegium", "light-import", "plugin"),
    Mutant(
        "unknown options allowed",
        '        """Options."""\n',
        '        """Options."""\n\n        model_config = {"extra": "allow"}\n',
        "options-strict",
    ),
    Mutant("undocumented option", '        """Relative tolerance."""\n', "", "options-documented"),
    before(
        "self.seen = getattr(self, 'seen', set())\n"
        "if completion.text in self.seen:\n    return Score(0.0)\n"
        "self.seen.add(completion.text)",
        "deterministic-verdicts",
        "verdicts change with what was judged before",
    ),
    before("self.task = task\ntime.sleep(0.001)\ntask = self.task", "thread-safe", "state shared between threads"),
    before(
        "import sys\nif completion.text == 'It is 42' and 'pytest' not in sys.modules:\n    return Score(0.0)",
        "same-in-fresh-process",
        "depends on the process",
    ),
    Mutant("right answers get less than the maximum", SCORE, "        return Score(0.9)", "labels-agree"),
    Mutant("wrong answers pass", SCORE, "        return Score(1.0)", "labels-agree"),
    before("if completion.text == 'hang':\n    return Score(1.0)", "time-limit", "a hanging input is right"),
    Mutant("no files named", CONTENT, "for each in ()", "content-paths"),
    Mutant("a file named by text forgotten", CONTENT, "for each in (self.table,) if each", "content-paths"),
    Mutant("a file typed as a path forgotten", CONTENT, "for each in (self.names_file,) if each", "content-paths"),
    Mutant("only the file's folder named", "[Path(each) for", "[Path(each).parent for", "content-paths"),
    *(Mutant(f"card: {name}", old, new, "card", "card") for name, old, new in CARDS),
]


@pytest.fixture(autouse=True)
def _own_working_directory(tmp_path, monkeypatch):
    """One of the mutants writes a file where it is."""
    monkeypatch.chdir(tmp_path)


def statuses(results: list[Result]) -> dict[str, str]:
    """Return check to status."""
    return {result.check: result.status for result in results}


def test_the_sound_package_passes_every_check(make_plugin):
    make_plugin("acme-units", card=CARD, plugin=PLUGIN, verifier=VERIFIER)
    results = check_component("verifier", "acme-units/units", cases=CASES)
    assert set(statuses(results).values()) == {"passed"}, [result for result in results if result.status != "passed"]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_planted_trap_is_caught(make_plugin, mutant):
    sources: dict[str, str | None] = {"plugin": PLUGIN, "verifier": VERIFIER, "card": CARD}
    assert mutant.old in sources[mutant.module]
    sources[mutant.module] = sources[mutant.module].replace(mutant.old, mutant.new, 1) or None
    make_plugin("acme-units", **sources)
    cases = CASES if mutant.caught_by == "time-limit" else [case for case in CASES if not case.get("hangs")]
    (check,) = [each for each in checks_for("verifier") if each.name == mutant.caught_by]
    subject = Subject("verifier", "acme-units/units", cases=cases)
    result = check.run(subject)
    subject.close()
    assert result.status == "failed", result


def test_every_check_of_verifiers_but_the_structural_ones_is_needed_by_a_mutant():
    structural = {"contract-version", "base-class", "buildable"}
    assert {each.name for each in checks_for("verifier")} - structural == {mutant.caught_by for mutant in MUTANTS}
