"""From a completion to the Python text that is run; cut with regular expressions only, never parsed here."""

from __future__ import annotations

import re
from typing import Literal

from collegium import Task

Extract = Literal["auto", "fence", "none"]
FENCE = re.compile(
    r"^[ \t]*```[ \t]*(?P<language>[\w+-]*)[^\n]*\n(?P<code>.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE
)
DEFINES = re.compile(r"^(?:async[ \t]+def|def|class)[ \t]", re.MULTILINE)
PYTHON = ("", "python", "python3", "py")


def extract_code(text: str, how: Extract) -> str | None:
    """Cut the code out of a completion.

    With several fenced blocks, the last one that defines a function or class is taken (a last block is often only an
    example of use); if none does, the last one.

    Returns:
        The code; None if `how` is ``fence`` and there is no fenced Python block.
    """
    if how == "none":
        return text
    blocks = [match["code"] for match in FENCE.finditer(text) if match["language"].lower() in PYTHON]
    if not blocks:
        return text if how == "auto" else None
    return next((block for block in reversed(blocks) if DEFINES.search(block)), blocks[-1])


def prefix_of(task: Task) -> str:
    """Find the text that goes before the completion: ``data["prefix"]``, or HumanEval's prompt, which is code."""
    if "prefix" in task.data:
        return str(task.data["prefix"])
    return task.prompt if "test" in task.data and isinstance(task.prompt, str) else ""


def assemble(code: str, task: Task) -> str:
    """Put the task's prefix and suffix around the code."""
    return f"{prefix_of(task)}{code}{task.data.get('suffix', '')}"
