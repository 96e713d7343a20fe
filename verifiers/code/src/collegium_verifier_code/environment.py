"""The environment `python`: a turn's code is run in the sandbox, and what it says is the reply."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from collegium import Environment, EnvironmentConfig, Episode, PluginError, Task
from collegium.kinds.environment import call_of
from collegium_verifier_code.hints import OWNER
from collegium_verifier_code.inside.limits import Limits
from collegium_verifier_code.pool import Pool
from collegium_verifier_code.source import extract_code

GRACE_S = 2.0
"""What a run may take beyond its limit before its sandbox is given up."""
LONGEST_CODE = 20_000
"""Characters of a turn's code; longer code is not run."""
# Read in the sandbox, never here: the text of a model may be one that Python's parser chokes on.
DRIVER = """\
import ast
tree = ast.parse({code!r})
last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
names = {{"__name__": "__main__"}}
exec(compile(tree, "turn", "exec"), names)
if last is not None:
    value = eval(compile(ast.Expression(last.value), "turn", "eval"), names)
    if value is not None:
        print(value)
"""
"""Runs a turn's code; the value of a last expression is printed, as in a notebook (but by `str`)."""


class PythonConfig(EnvironmentConfig):
    """Options of the environment `python`."""

    call: str = Field(default="run ", min_length=1)
    """What begins a turn's last line that is a call; one line of code follows. A fenced block is a call, too."""
    timeout_s: float = Field(default=3.0, gt=0, le=60)
    """Seconds of wall time of a turn's code."""
    memory_mb: int = Field(default=256, ge=64)
    """Address space of its process, in MiB."""
    workers: int = Field(default=2, ge=1, le=64)
    """Warm sandboxes, which is how many episodes are answered at once."""
    max_chars: int = Field(default=200, ge=1)
    """A longer output is cut there."""
    suffix: str = "\n"
    """What stands after each reply."""


class PythonSandbox(Environment):
    """Reply to ``run 6*7`` with ``42``; a turn without code ends the episode.

    Each turn's code starts anew: nothing is kept from the turn before. An exception's last line is the reply to code
    that fails, and ``timed out`` to code that does not end.

    Raises:
        VerifierError: At construction, if the sandbox cannot be made here. Nothing is ever run without it.
    """

    Config = PythonConfig

    def __init__(self, config: PythonConfig | Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self.at_once = self.config.workers
        self.timeout_s = 2 * (self.config.timeout_s + 2 * GRACE_S)  # type: ignore[misc]  # of two sandboxes in a row
        self._pool = Pool(self.config.workers, Limits(memory_mb=self.config.memory_mb))
        self._finalizer = weakref.finalize(self, _shut, os.getpid(), self._pool)

    def open(self, task: Task) -> Episode:  # code runs the same for every task
        """Begin an episode."""
        return _Session(self)

    def run(self, code: str) -> str:
        """Run a turn's code and return what it says.

        Raises:
            PluginError: If the sandbox fails, which is not the code's fault.
        """
        if len(code) > LONGEST_CODE:
            return "too long"
        item = {"mode": "program", "source": DRIVER.format(code=code), "stdin": "", "timeout_s": self.config.timeout_s}
        report = self._pool.judge(item, self.config.timeout_s + GRACE_S)
        if "error" in report:
            raise PluginError(f"the sandbox failed: {report['error']}", owner=OWNER)
        return _said(report)[: self.config.max_chars]

    def close(self) -> None:
        """End the sandboxes."""
        self._finalizer()


class _Session(Episode):
    def __init__(self, sandbox: PythonSandbox) -> None:
        self.sandbox = sandbox

    def reply(self, text: str) -> str | None:
        """Run the turn's code, if it has some."""
        code = extract_code(text, "fence")
        code = call_of(text, self.sandbox.config.call) if code is None else code
        return None if code is None else self.sandbox.run(code)


def _said(report: Mapping[str, Any]) -> str:
    """Return the output, or why there is none."""
    if report["cause"]:
        return str(report["cause"]).partition(" after")[0].partition(":")[0]
    if report["status"]:
        return str(report["stderr"]).strip().rpartition("\n")[2]
    return str(report["stdout"]).rstrip("\n")


def _shut(owner: int, pool: Pool) -> None:
    """End the sandboxes, but not from a forked copy of the trainer that ends first."""
    if os.getpid() == owner:
        pool.close()
