"""From a completion to the Python text that is run; cut with regular expressions only, never parsed here."""

from __future__ import annotations

import re
from typing import Literal

from collegium import Task

Extract = Literal["auto", "fence", "none"]
FENCE = re.compile(r"^[ \t]{0,40}```", re.MULTILINE)
LANGUAGE = re.compile(r"[ \t]{0,40}([\w+-]{0,40})")
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
    blocks = [code for language, code in fenced_blocks(text) if language in PYTHON]
    if not blocks:
        return text if how == "auto" else None
    return next((block for block in reversed(blocks) if DEFINES.search(block)), blocks[-1])


def fenced_blocks(text: str) -> list[tuple[str, str]]:
    """Return (language, content) of each fenced block, in linear time; one that is not closed runs to the end."""
    blocks, at = [], 0
    while (opening := FENCE.search(text, at)) is not None:
        line_end = text.find("\n", opening.end())
        if line_end < 0:
            break
        language = LANGUAGE.match(text, opening.end(), line_end)
        closing = FENCE.search(text, line_end + 1)
        end = closing.start() if closing else len(text)
        blocks.append((language[1].lower() if language else "", text[line_end + 1 : end]))
        at = closing.end() if closing else len(text)
    return blocks


def prefix_of(task: Task) -> str:
    """Find the text that goes before the completion: ``data["prefix"]``, or HumanEval's prompt, which is code."""
    if "prefix" in task.data:
        return str(task.data["prefix"])
    return task.prompt if "test" in task.data and isinstance(task.prompt, str) else ""


def assemble(code: str, task: Task) -> str:
    """Put the task's prefix and suffix around the code."""
    return f"{prefix_of(task)}{code}{task.data.get('suffix', '')}"
