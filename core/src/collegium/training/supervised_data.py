"""Demonstrations from JSON Lines files and from domains, as examples to train on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from collegium.errors import DataError
from collegium.task import Demonstration, Task, Turn
from collegium.training.data_rows import completion_of, prompt_of, read_rows
from collegium.training.packing import Example
from collegium.training.tokenizers import Prompt, encode_completion, encode_prompt, encode_reply

DATA_FILE = "data.jsonl"
"""Name of a data artifact's file in its folder."""

OWNER = "collegium"


def to_example(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Prompt,
    completion: str | Sequence[Turn],
    name: str,
    images: tuple[bytes, ...] = (),
) -> Example:
    """Encode a prompt and its completion; only what the model writes of it, end of sequence included, is trained.

    Placeholders of pictures are one token each here; `collegium.training.supervised.expanded` does the rest.

    Raises:
        DataError: If the prompt is empty, the model has no turn or not the last one, or something cannot be encoded.
    """
    prompt_ids = encode_prompt(tokenizer, prompt)
    if not prompt_ids:
        raise DataError(f"example {name!r} has an empty prompt", fix="give it a prompt of at least one token")
    if isinstance(completion, str):
        return Example((*prompt_ids, *encode_completion(tokenizer, completion)), len(prompt_ids), name, images=images)
    if not completion or not completion[-1].sampled:
        raise DataError(
            f"example {name!r}: a completion of turns must end with a turn of the model",
            fix='let its last turn be "sampled": true',
        )
    ids, trained = encode_turns(tokenizer, completion)
    return Example((*prompt_ids, *ids), len(prompt_ids), name, trained, images)


def encode_turns(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn]) -> tuple[list[int], tuple[bool, ...]]:
    """Return the ids of a completion's turns, each encoded by itself, and which of them are trained.

    A turn of the model ends with the end-of-sequence token, as in an episode.
    """
    parts = [
        encode_completion(tokenizer, turn.text) if turn.sampled else encode_reply(tokenizer, turn.text, special=True)
        for turn in turns
    ]
    marks = (turn.sampled for turn, part in zip(turns, parts, strict=True) for _ in part)
    return [token for part in parts for token in part], tuple(marks)


def demonstration_examples(
    tokenizer: PreTrainedTokenizerBase, demonstrations: Iterable[Demonstration]
) -> list[Example]:
    """Encode demonstrations."""
    return [
        to_example(tokenizer, each.task.prompt, each.completion, each.task.id, each.task.images)
        for each in demonstrations
    ]


def read_examples(tokenizer: PreTrainedTokenizerBase, path: Path) -> list[Example]:
    """Encode the rows of a file, or of a data artifact's folder; see `read_labelled`."""
    return [example for _, example in read_labelled(tokenizer, path)]


def read_labelled(tokenizer: PreTrainedTokenizerBase, path: Path) -> list[tuple[str, Example]]:
    """Encode the rows of a JSON Lines file, or of a data artifact's folder, each with its domain, if it says one.

    Rows are ``{"prompt", "completion"}`` or ``{"instruction", "input", "output"}``. A completion is text, or a list of
    turns ``{"text": ..., "sampled": true}``, of which those that are not sampled are read and not trained.

    Raises:
        DataError: If it is missing, truncated, malformed or empty; names file and line.
    """
    file = path / DATA_FILE if path.is_dir() else path
    return [
        (_domain(row), to_example(tokenizer, prompt_of(row), completion_of(row, name), name))
        for name, row in read_rows(file, owner=OWNER)
    ]


def refuse_held_out(
    tokenizer: PreTrainedTokenizerBase, examples: Iterable[Example], tasks: Iterable[Task], what: str
) -> None:
    """Refuse examples whose prompt is a held-out task's.

    Raises:
        DataError: If there is one; scores on that task would mean nothing.
    """
    prompts = {(tuple(encode_prompt(tokenizer, task.prompt)), task.images): task.id for task in tasks}
    for example in examples:
        found = prompts.get((tuple(example.token_ids[: example.start]), example.images))
        if found is not None:
            raise DataError(
                f"{what!r}: row {example.name!r} has the prompt of the held-out task {found!r}; scores on it would "
                "mean nothing",
                fix="take the row out of the training data",
            )


def _domain(row: Mapping[str, Any]) -> str:
    return row["domain"] if isinstance(row.get("domain"), str) else ""
