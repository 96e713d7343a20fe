"""Run test code against a submission and report, per test, how it went."""

from __future__ import annotations

import ast
import functools
import importlib
import random
import signal
from collections.abc import Callable
from types import CodeType
from typing import Any

from collegium_verifier_code.inside import testcode
from collegium_verifier_code.inside.session import Function, Session, SubmissionDied, TestsUnsupported

Check = dict[str, Any]
"""``{"ok": bool, "cause": str}``: one test, or one assertion of a whole test function."""


class TestTimeout(BaseException):
    """A test ran out of time."""


class BadTests(Exception):
    """The tests are at fault, not the submission."""


def grade(item: dict[str, Any], session: Session) -> dict[str, Any]:
    """Run an item's tests.

    Returns:
        ``{"checks": [...], "total": n, "cause": why it ended early}`` or ``{"error": why the tests could not be run}``.
    """
    try:
        return Grader(item, session).run()
    except BadTests as error:
        return {"error": str(error)}
    except TestsUnsupported as error:
        return {"error": str(error)}


class Grader:
    """One item's tests.

    Args:
        item: ``source``, ``tests``, ``setup``, ``helpers``, ``entry_point``, ``each_assert``, ``timeout_s``,
        ``stop_early``.
    """

    def __init__(self, item: dict[str, Any], session: Session) -> None:
        self.item, self.session = item, session
        self.checks: list[Check] = []
        self.namespace: dict[str, Any] = {"__name__": "tests"}

    def run(self) -> dict[str, Any]:
        """Load the submission, bind its names, run the tests."""
        random.seed(0)  # a test that draws its inputs draws the same ones each time
        names, taken, codes = self._read_tests()
        cause = self._within_limit(lambda: self._prepare(names, taken))
        for code in codes if not cause else ():
            cause = self._within_limit(functools.partial(exec, code, self.namespace))
            if not self.item["each_assert"] or cause:
                self.checks.append({"ok": not cause, "cause": cause})
            if self.session.cause or (cause and self.item["stop_early"]):
                break
        return {"checks": self.checks, "total": self._total(cause), "cause": self.session.cause or cause}

    def _total(self, cause: str) -> int:
        """Count the tests, reached or not; a test function that checked nothing counts as one."""
        if not self.item["each_assert"]:
            return len(self.item["tests"])
        expected = sum(map(testcode.count_asserts, self.item["tests"])) if cause or self.session.cause else 1
        return max(len(self.checks), expected)

    def _read_tests(self) -> tuple[testcode.Names, set[str], list[CodeType]]:
        try:
            names = testcode.names_in("\n".join((self.item["setup"], *self.item["tests"])))
            testcode.check_supported(names)
            taken = testcode.take_names(names, self.item["entry_point"])
            return names, taken, [self._compile(text) for text in self.item["tests"]]
        except SyntaxError as error:
            raise BadTests(f"the tests are not Python: {error}") from error
        except ValueError as error:
            raise BadTests(str(error)) from error

    def _compile(self, text: str) -> CodeType:
        tree: ast.Module = ast.parse(text, "tests.py")
        if not any(isinstance(node, ast.Assert | ast.Raise) for node in ast.walk(tree)):
            raise BadTests(f"a test has no assertion: {text[:80]!r}")
        if self.item["each_assert"]:
            tree = testcode.AssertRecorder().visit(tree)
        return compile(tree, "tests.py", "exec")

    def _prepare(self, names: testcode.Names, taken: set[str]) -> None:
        """Fill the tests' namespace: trusted helpers and modules first, then what the submission provides."""
        for name in names.modules:
            self.namespace[name] = importlib.import_module(name)
        self.namespace[testcode.CHECK] = self._check
        helpers = self._helpers(taken)
        if helpers:
            exec(self.item["helpers"], self.namespace)
        self.session.load(self.item["source"])
        self._bind(taken - helpers)
        self._set_up()

    def _helpers(self, taken: set[str]) -> set[str]:
        """Find what a test function uses besides the function under test: it must be the prompt's."""
        if not self.item["each_assert"]:
            return set()
        wanted = taken - {self.item["entry_point"]}
        missing = wanted - testcode.defined_at_top(self.item["helpers"])
        if missing:
            names = ", ".join(sorted(missing))
            raise BadTests(
                f"the tests use {names}, which the prompt does not define; give the prompt's code as `prefix`"
            )
        return wanted

    def _bind(self, names: set[str]) -> None:
        for name, kind in self.session.kinds(sorted(names)).items():
            if "exception" in kind:
                self.namespace[name] = self.session.define_exception(name, kind["exception"])
            elif "callable" in kind:
                self.namespace[name] = Function(self.session, name, is_class=name[:1].isupper())
            elif "value" in kind:
                self.namespace[name] = self.session.unpack(kind["value"])

    def _set_up(self) -> None:
        try:
            exec(compile(self.item["setup"], "setup.py", "exec"), self.namespace)
        except Exception as error:
            if testcode.names_in(self.item["setup"]).free & set(self.namespace):
                raise  # it works with the submission's names, so that may be at fault
            raise BadTests(f"the setup failed: {type(error).__name__}: {error}") from error

    def _check(self, outcome: Any) -> None:
        """Record one assertion of a test function: the value of its condition, or the exception that it raised."""
        if isinstance(outcome, Exception):
            check = {"ok": False, "cause": _describe(outcome)}
        else:
            ok = bool(outcome)
            check = {"ok": ok, "cause": "" if ok else "assertion failed"}
        self.checks.append(check)
        if not check["ok"] and self.item["stop_early"]:
            raise StopEarly

    def _within_limit(self, action: Callable[[], Any]) -> str:
        """Run one step under the time limit and say what went wrong, if anything did."""
        signal.signal(signal.SIGALRM, self._out_of_time)
        signal.setitimer(signal.ITIMER_REAL, self.item["timeout_s"])
        cause = ""
        try:
            action()
        except StopEarly:
            cause = self.checks.pop()["cause"]
        except AssertionError as error:
            cause = f"assertion failed: {error}"[:300] if str(error) else "assertion failed"
        except (Exception, SubmissionDied, TestTimeout) as error:
            if isinstance(error, BadTests):
                raise
            cause = _describe(error)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return cause or self.session.cause  # a test that swallows the end of the submission has not passed

    def _out_of_time(self, *_: Any) -> None:
        self.session.cause = self.session.cause or f"timed out after {self.item['timeout_s']:g} s"
        raise TestTimeout(self.session.cause)


class StopEarly(BaseException):
    """An assertion failed and the rest need not be run."""


def _describe(error: BaseException) -> str:
    if isinstance(error, SubmissionDied | TestTimeout):
        return str(error)[:300]
    return f"{type(error).__name__}: {error}"[:300]
