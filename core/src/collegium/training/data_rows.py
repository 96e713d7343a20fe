"""Rows of data artifacts: prompts as JSON holds them, system prompts put before them, files of rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from collegium.errors import DataError
from collegium.kinds.data_files import read_json_lines
from collegium.task import Message, Task, Turn

PlainPrompt: TypeAlias = "str | list[Message]"
"""A prompt as JSON holds it."""

PAIRS_FILE = "pairs.jsonl"
"""Name of the file of pairs in a data artifact's folder; that of demonstrations is `supervised_data.DATA_FILE`."""


def plain_prompt(task: Task) -> PlainPrompt:
    """Return a task's prompt as JSON holds it.

    Raises:
        DataError: If it has pictures, which a row cannot hold.
    """
    if task.images:
        raise DataError(f"task {task.id!r} has pictures, and rows of data hold text", fix="leave its domain out")
    return task.prompt if isinstance(task.prompt, str) else [Message(**turn) for turn in task.prompt]


def plain_completion(completion: str | Sequence[Turn]) -> str | list[dict[str, Any]]:
    """Return a completion as JSON holds it: text, or turns ``{"text", "sampled"}``."""
    if isinstance(completion, str):
        return completion
    return [{"text": turn.text, "sampled": turn.sampled} for turn in completion]


def prompt_text(prompt: str | Sequence[Message]) -> str:
    """Return a prompt as one text, as `Task.prompt_text` does."""
    return prompt if isinstance(prompt, str) else "\n\n".join(turn["content"] for turn in prompt)


def with_system_prompt(prompt: PlainPrompt, text: str) -> PlainPrompt:
    """Put a system prompt before a prompt: text before text, a system message before messages.

    One that the messages begin with stays, after the new text and a blank line.
    """
    if isinstance(prompt, str):
        return text + prompt
    if prompt[0]["role"] != "system":
        return [Message(role="system", content=text), *prompt]
    return [Message(role="system", content=f"{text}\n\n{prompt[0]['content']}"), *prompt[1:]]


def read_rows(file: Path, *, owner: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``(file and line, row)`` of a file of demonstrations; each row has a `prompt` and a `completion`.

    A row may have ``instruction``, ``input`` and ``output`` instead, as instruction data sets have: each part of the
    prompt then ends with a newline. Other keys stay as they are.

    Raises:
        DataError: If the file cannot be read or is empty, or a row is malformed; names file and line.
    """
    for line, row in read_json_lines(file, owner=owner):
        named = f"{file.name}:{line}"
        made = row if "prompt" in row else _from_instruction(row)
        if made is None or not _is_prompt(made["prompt"]) or not isinstance(made.get("completion"), (str, list)):
            raise DataError(
                f'{named}: expected {{"prompt": text or chat messages, "completion": text}} or {{"instruction", '
                f'"input", "output"}}, found { ({key: type(value).__name__ for key, value in row.items()}) }',
                fix="mend the line",
                owner=owner,
            )
        yield named, made


def prompt_of(row: Mapping[str, Any]) -> str | tuple[Message, ...]:
    """Return a read row's prompt as tasks hold it."""
    prompt = row["prompt"]
    if isinstance(prompt, str):
        return prompt
    return tuple(Message(role=turn["role"], content=turn["content"]) for turn in prompt)


def completion_of(row: Mapping[str, Any], name: str) -> str | tuple[Turn, ...]:
    """Return a read row's completion as demonstrations hold it.

    Raises:
        DataError: If it is a list of something else than turns.
    """
    value = row["completion"]
    if isinstance(value, str):
        return value
    if all(
        isinstance(turn, dict) and isinstance(turn.get("text"), str) and isinstance(turn.get("sampled"), bool)
        for turn in value
    ):
        return tuple(Turn(turn["text"], turn["sampled"]) for turn in value)
    raise DataError(
        f'{name}: a completion must be text or a list of {{"text": ..., "sampled": true or false}}',
        fix="mend the line",
    )


def _from_instruction(row: Mapping[str, Any]) -> dict[str, Any] | None:
    parts = [row.get("instruction"), row.get("input", "")]
    if not all(isinstance(part, str) for part in parts) or not parts[0]:
        return None
    rest = {key: value for key, value in row.items() if key not in ("instruction", "input", "output")}
    prompt = "".join(f"{part}\n" for part in parts if part)
    return {**rest, "prompt": prompt, "completion": row.get("output")}


def _is_prompt(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value)
    return isinstance(value, list) and bool(value) and all(map(_is_message, value))


def _is_message(turn: Any) -> bool:
    return isinstance(turn, dict) and all(isinstance(turn.get(key), str) for key in ("role", "content"))


def write_rows(folder: Path, files: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
    """Write each file's rows as JSON Lines into a folder that is there."""
    for name, rows in files.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / name).write_text(text, encoding="utf-8")
