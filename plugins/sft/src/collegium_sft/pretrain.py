"""Pretraining: next-token prediction on raw text.

Each document ends with end of sequence; one longer than a row is cut into pieces. Texts with pictures are examples of
their own, never cut: a model of text and pictures learns both at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from collegium import DataError, PicturedText, Stage
from collegium.kinds.data_files import locate, read_json_lines
from collegium.training.context import StageContext
from collegium.training.initialise import initialise
from collegium.training.language_model import LanguageModel
from collegium.training.packing import Example
from collegium.training.seeds import derive
from collegium.training.supervised import train_on_examples
from collegium.training.tokenizers import encode_completion
from collegium_sft.configs import PretrainConfig
from collegium_sft.selection import chosen_domains


class PretrainStage(Stage):
    """Train on the text of the domains and of a file, from scratch or from `init_from`."""

    Config = PretrainConfig

    def run(self, context: StageContext) -> None:
        """Start the model, cut the text, and train on it."""
        start = context.input("init_from")
        if start is None:
            policy = initialise(self.config.model, derive(context.seed, context.job.id, "weights"))
            policy.to(context.device)
        else:
            policy = LanguageModel.load(start, context.device)
        train_on_examples(context, policy, self.examples(context, policy.tokenizer), self.config)

    def examples(self, context: StageContext, tokenizer: PreTrainedTokenizerBase) -> list[Example]:
        """Return every text, cut into rows, and every text with pictures.

        Raises:
            DataError: If there is none.
        """
        pictured = context.pictured_texts()
        chosen = chosen_domains(self.config.domains, pictured, context.job.id)
        shown = [
            whole(tokenizer, each, f"{name}/{index}") for name in chosen for index, each in enumerate(pictured[name])
        ]
        texts = self.texts(context, needed=not shown)
        return [
            *(piece for name, text in texts for piece in cut(tokenizer, text, name, self.config.row_tokens)),
            *shown,
        ]

    def texts(self, context: StageContext, *, needed: bool = True) -> list[tuple[str, str]]:
        """Return every document with the name of where it comes from.

        Raises:
            DataError: If there is none, and one is needed.
        """
        offered = context.texts()
        chosen = chosen_domains(self.config.domains, offered, context.job.id)
        texts = [(f"{name}/{index}", text) for name in chosen for index, text in enumerate(offered[name]) if text]
        if self.config.text is not None:
            documents = read_documents(locate(self.config.text))
            context.refuse_held_out([text for _, text in documents], f"the documents of {self.config.text!r}")
            texts += documents
        if not texts and needed:
            raise DataError(
                f"stage {context.job.id!r} has no text: no domain's task source offers any and text: is not given",
                fix="give a domain whose task source has texts() or pictured_texts(), or text: FILE",
            )
        return texts


def read_documents(path: Path) -> list[tuple[str, str]]:
    """Return the documents of a text file, which blank lines separate; or the `text` of each row of JSON Lines.

    Raises:
        DataError: If it is missing or empty, or a row has no text.
    """
    if ".jsonl" in path.suffixes:
        return list(_row_texts(path))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"text file {str(path)!r} cannot be read: {error}", fix="check the path") from error
    documents = [part for part in re.split(r"\n\s*\n", text) if part.strip()]
    if not documents:
        raise DataError(f"text file {str(path)!r} is empty, expected at least one document", fix="check the path")
    return [(f"{path.name}#{index}", part) for index, part in enumerate(documents)]


def _row_texts(path: Path) -> Iterator[tuple[str, str]]:
    for line, row in read_json_lines(path, owner="collegium-sft"):
        if not isinstance(row.get("text"), str) or not row["text"].strip():
            raise DataError(f'{path}:{line}: expected {{"text": ...}}, found {sorted(row)}', fix="mend the line")
        yield f"{path.name}:{line}", row["text"]


def cut(tokenizer: PreTrainedTokenizerBase, text: str, name: str, row_tokens: int) -> list[Example]:
    """Cut a document into examples of at most a row; each piece's first token is read only, as nothing predicts it."""
    ids = encode_completion(tokenizer, text)
    pieces = [tuple(ids[start : start + row_tokens]) for start in range(0, len(ids), row_tokens)]
    return [Example(piece, 1, name) for piece in pieces if len(piece) > 1]


def whole(tokenizer: PreTrainedTokenizerBase, pictured: PicturedText, name: str) -> Example:
    """Make a text with pictures one example, in which pictures are read only."""
    return Example(tuple(encode_completion(tokenizer, pictured.text)), 1, name, images=pictured.images)
