"""The `code` verifier: run a model's Python against the task's tests in a sandbox."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Literal

from pydantic import Field

from collegium import Completion, Error, Score, Task, Verdict, Verifier
from collegium import Config as BaseConfig
from collegium.kinds.perturbation import Perturbation
from collegium_verifier_code.inside.limits import Limits
from collegium_verifier_code.items import BadTask, form_of, function_item, program_items
from collegium_verifier_code.output import program_failure
from collegium_verifier_code.pool import Pool
from collegium_verifier_code.source import Extract, assemble, extract_code

GRACE_S = 2.0
"""What an item may take beyond its tests' limits before its sandbox is given up."""


class CodeConfig(BaseConfig):
    """Options of `code`."""

    mode: Literal["all", "fraction"] = "all"
    """``all``: 1 if every test passes, else 0, stopping at the first failure; ``fraction``: the share that passes."""
    timeout_s: float = Field(default=3.0, gt=0, le=60)
    """Seconds of wall time per test, or per run of a program; loading the code counts as one."""
    memory_mb: int = Field(default=256, ge=64)
    """Address space of the submission's process, in MiB."""
    workers: int = Field(default=2, ge=1, le=64)
    """Warm sandboxes, which is how many completions are judged at once."""
    tolerance: float = Field(default=0.0, ge=0, lt=1)
    """For whole programs: how far a number in the output may be from the expected one, absolutely or relative to it;
    0 compares texts."""
    extract: Extract = "auto"
    """Where the code is: in a ```` ```python ```` fence (``fence``), the whole completion (``none``), or a fence if
    there is one (``auto``)."""


class CodeVerifier(Verifier):
    """Run Python against tests; see the package's README for what the sandbox is and is not.

    The task's `data` carries one of: ``tests`` (texts such as ``"assert f(2) == 3"``) with an optional ``setup``;
    HumanEval's ``test`` and ``entry_point`` with the prompt's code put before the completion; ``io`` (a list of
    ``{"stdin", "stdout"}``) for whole programs. Optional ``prefix`` and ``suffix`` are put around the completion's
    code.

    Raises:
        VerifierError: At construction, if the sandbox cannot be made here. Nothing is ever run without it.
    """

    Config: ClassVar[type[BaseConfig]] = CodeConfig
    timeout_s: ClassVar[float] = 60.0

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        budget = self.timeout_s - 2 * GRACE_S
        self._pool = Pool(self.config.workers, Limits(memory_mb=self.config.memory_mb, cpu_s=int(budget)))
        self._threads = ThreadPoolExecutor(self.config.workers, thread_name_prefix="collegium-code")
        self._finalizer = weakref.finalize(self, _shut, os.getpid(), self._threads, self._pool)

    def verify(self, completion: Completion, task: Task) -> Verdict:
        """Judge one completion.

        Returns:
            `Score` with per-test details; `Error` where the task or the harness is at fault.
        """
        try:
            form = form_of(task.data)
            code = extract_code(completion.text, self.config.extract)
            if code is None:
                return Score(0.0, {"cause": "no fenced Python block in the completion"})
            source = assemble(code, task)
            return self._run_program(source, task) if form == "io" else self._call_functions(source, task)
        except BadTask as error:
            return Error(str(error))

    def verify_batch(self, completions: Sequence[Completion], tasks: Sequence[Task]) -> Sequence[Verdict]:
        """Judge many at once, spread over the sandboxes."""
        pairs = list(zip(completions, tasks, strict=True))
        return list(self._threads.map(lambda pair: self.verify(*pair), pairs))

    def perturbations(self, completion: Completion, task: Task) -> Iterator[Perturbation]:
        """A comment does not matter; a module that raises when it is loaded has no functions to test."""
        text = completion.text.rstrip()
        if "```" in text:
            return
        yield Perturbation("comment after", f"{text}\n# the end\n", changes_value=False)
        if form_of(task.data) != "io":
            yield Perturbation("raises at its end", f"{text}\nraise RuntimeError('broken')\n", changes_value=True)

    def close(self) -> None:
        """End the sandboxes."""
        self._finalizer()

    def _call_functions(self, source: str, task: Task) -> Verdict:
        stop_early = self.config.mode == "all"
        item = function_item(source, task, timeout_s=self.config.timeout_s, stop_early=stop_early)
        report = self._pool.judge(item, self._limit(len(item["tests"]) + 1))
        if "error" in report:
            return Error(report["error"])
        return self._score(report["checks"], report["total"], report["cause"])

    def _run_program(self, source: str, task: Task) -> Verdict:
        items = program_items(source, task, timeout_s=self.config.timeout_s)
        checks: list[dict[str, Any]] = []
        for item, expected in items:
            report = self._pool.judge(item, self._limit(1))
            if "error" in report:
                return Error(report["error"])
            cause = program_failure(report, expected, self.config.tolerance)
            checks.append({"ok": not cause, "cause": cause})
            if cause and self.config.mode == "all":
                break
        return self._score(checks, len(items), "")

    def _limit(self, steps: int) -> float:
        return min(steps * float(self.config.timeout_s) + GRACE_S, self.timeout_s - GRACE_S)

    def _score(self, checks: list[dict[str, Any]], total: int, cause: str) -> Score:
        passed = sum(bool(check["ok"]) for check in checks)
        complete = passed == total and not cause
        value = float(complete) if self.config.mode == "all" else passed / total
        cause = cause or next((check["cause"] for check in checks if not check["ok"]), "")
        return Score(value, {"passed": passed, "total": total, "cause": cause, "tests": checks})


def _shut(owner: int, threads: ThreadPoolExecutor, pool: Pool) -> None:
    """End the sandboxes, but not from a forked copy of the trainer (a data loader's process, say) that ends first."""
    if os.getpid() != owner:
        return
    threads.shutdown(wait=True, cancel_futures=True)
    pool.close()
