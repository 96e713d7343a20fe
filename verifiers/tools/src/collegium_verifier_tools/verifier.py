"""The verifier `function-call`."""

from __future__ import annotations

import re

from collegium import Completion, Error, Score, Task, Verdict, Verifier
from collegium import Config as BaseConfig
from collegium_verifier_tools.gold import fault
from collegium_verifier_tools.matching import assign, mismatch
from collegium_verifier_tools.parsing import Call, Format, NotCalls, after_thinking, parse


class FunctionCallVerifier(Verifier):
    """Score 1 if the completion makes exactly the expected calls, in any order; 0 otherwise."""

    class Config(BaseConfig):
        """Options."""

        format: Format = "auto"
        """How calls are written; `auto` decides by the text."""
        strict: bool = True
        """Nothing but the calls; false allows thinking, one code fence, and text around `<tool_call>`."""
        max_chars: int = 100_000
        """A longer completion scores 0 unread."""
        max_calls: int = 128
        """More calls score 0 unmatched."""

    def verify(self, completion: Completion, task: Task) -> Verdict:
        """Judge one completion; a task at odds with its own functions is an error."""
        if (wrong := fault(task.data)) is not None:
            return Error(f"task {task.id}: {wrong}")
        if len(completion.text) > self.config.max_chars:
            return _zero(f"longer than {self.config.max_chars} characters")
        if not task.data["ground_truth"]:
            return self._no_call(completion.text, task)
        try:
            return self._match(parse(completion.text, self.config.format, self.config.strict), task)
        except NotCalls as error:
            return _zero(str(error))

    def _match(self, calls: list[Call], task: Task) -> Verdict:
        golds = task.data["ground_truth"]
        if len(calls) > self.config.max_calls or len(calls) != len(golds):
            return _zero(f"expected {len(golds)} calls, got {len(calls)}")
        functions = {item["name"]: item["parameters"] for item in task.data["functions"]}
        table = [[mismatch(call, gold, functions) for gold in golds] for call in calls]
        if assign([[reason is None for reason in row] for row in table]) == len(golds):
            return Score(1.0, {"calls": len(calls)})
        lost = next((row for row in table if None not in row), None)
        return _zero(str(lost[0]) if lost else "two calls answer the same expected call")

    def _no_call(self, text: str, task: Task) -> Verdict:
        text = text if self.config.strict else after_thinking(text)
        if not text.strip():
            return _zero("the completion is empty")
        if _attempts(text, [item["name"] for item in task.data["functions"]]):
            return _zero("no call was expected")
        try:
            calls = parse(text, self.config.format, self.config.strict)
        except NotCalls:
            return Score(1.0, {"calls": 0})
        return _zero("no call was expected") if calls else Score(1.0, {"calls": 0})


def _attempts(text: str, names: list[str]) -> bool:
    """Say whether prose holds a call all the same; where none is expected, a hidden one counts as well.

    A call is a name before a parenthesis, or as the value of a key `name`; a name in quotes alone is none.
    """
    named = "|".join(map(re.escape, names)) or r"(?!)"
    called = rf"""(?<!\w)(?:{named})(?:\(|[ \t]+\(\s*(?:\)|["'{{]|\w+\s*=))"""
    described = rf"""["'](?:name|function)["']\s*:\s*["'](?:{named})["']"""
    return "<tool_call>" in text or re.search(f"{called}|{described}", text) is not None


def _zero(reason: str) -> Score:
    return Score(0.0, {"mismatch": reason})
