"""Text to token ids and back, and what makes two tokenizers the same one."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from collegium.errors import DataError, PolicyError
from collegium.task import Message
from collegium.training.model_spec import TokenizerSpec

Prompt: TypeAlias = "str | tuple[Message, ...]"

PADDING_NAME = re.compile(r"pad|extra|unused|reserved|dummy|placeholder", re.IGNORECASE)
"""Names of tokens that only fill a vocabulary up to a round size."""


def build_tokenizer(spec: TokenizerSpec) -> PreTrainedTokenizerBase:
    """Build the tokenizer that a model from scratch asks for.

    Raises:
        DataError: If its file is missing or is not a tokenizer, or its alphabet repeats a character.
    """
    tokenizer = _base_tokenizer(spec)
    if known := [token for token in spec.tokens if token in tokenizer.get_vocab()]:
        raise DataError(
            f"tokenizer.tokens names {', '.join(map(repr, known))}, which the tokenizer has already",
            fix="list each token once, and none of one character",
        )
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in spec.tokens])
    if spec.chat_template is not None:
        tokenizer.chat_template = spec.chat_template
    return tokenizer


def _base_tokenizer(spec: TokenizerSpec) -> PreTrainedTokenizerBase:
    if spec.path is None:
        return character_tokenizer(spec.characters, spec.eos_token, spec.pad_token)
    try:
        if Path(spec.path).is_file():
            inner = Tokenizer.from_file(spec.path)
            return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers
                tokenizer_object=inner, eos_token=spec.eos_token, pad_token=spec.pad_token
            )
        return AutoTokenizer.from_pretrained(spec.path)
    except Exception as error:
        raise DataError(
            f"tokenizer {spec.path!r} cannot be loaded: {type(error).__name__}: {error}",
            fix="give a tokenizer.json, a folder that holds one, or a hub name",
        ) from error


def character_tokenizer(characters: str, eos_token: str = "<eos>", pad_token: str = "<pad>") -> PreTrainedTokenizerFast:
    """Build a tokenizer with one token per character, after padding (id 0) and end of sequence (id 1).

    It has no unknown token: encoding a character outside the alphabet is an error.

    Raises:
        DataError: If the alphabet is empty or repeats a character.
    """
    repeated = sorted({char for char in characters if characters.count(char) > 1})
    if repeated or not characters:
        found = f"repeats {''.join(repeated)!r}" if repeated else "is empty"
        raise DataError(f"tokenizer.characters {found}; expected each character once", fix="list each character once")
    vocabulary = {token: index for index, token in enumerate([pad_token, eos_token, *characters])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<no unknown token>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers
        tokenizer_object=inner, eos_token=eos_token, pad_token=pad_token, clean_up_tokenization_spaces=False
    )


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    """Return a prompt's ids: text as it stands, messages by the chat template up to the assistant's turn.

    A last message of the assistant is the beginning of its answer: it is read, and the completion goes on from it.

    Raises:
        DataError: If the text cannot be encoded, or messages meet a tokenizer without a chat template.
    """
    if isinstance(prompt, str):
        return _encode(tokenizer, prompt, special=True)
    if not tokenizer.chat_template:
        raise DataError(
            "a prompt of chat messages needs a chat template and the student's tokenizer has none",
            fix="give the tokenizer a chat template, or let the task source write plain text",
        )
    turns = [{"role": turn["role"], "content": turn["content"]} for turn in prompt]
    begun = turns[-1]["role"] == "assistant"
    text = tokenizer.apply_chat_template(
        turns, add_generation_prompt=not begun, continue_final_message=begun, tokenize=False
    )
    return _encode(tokenizer, str(text), special=False)


def encode_completion(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return a completion's ids, end of sequence included.

    Raises:
        DataError: If the text cannot be encoded.
    """
    return [*_encode(tokenizer, text, special=False), end_of_sequence(tokenizer)]


def encode_reply(tokenizer: PreTrainedTokenizerBase, text: str, *, special: bool) -> list[int]:
    """Return the ids of an environment's text, encoded by itself.

    Args:
        tokenizer: The model's.
        text: What the environment says.
        special: Whether the names of special tokens stand for these tokens; if not, they are plain text, so that a tool
            that repeats what the model wrote cannot end a turn or speak for somebody else.

    Raises:
        DataError: If the text cannot be encoded.
    """
    if not text:
        return []
    return _encode(tokenizer, text, special=False, split=not special)


def can_encode(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, *completions: str) -> bool:
    """Say whether the tokenizer has tokens for all that is in a prompt and its completions."""
    texts = [prompt] if isinstance(prompt, str) else [turn["content"] for turn in prompt]
    try:
        for text in (*texts, *completions):
            _encode(tokenizer, text, special=False)
    except DataError:
        return False
    return True


def decode_completion(tokenizer: PreTrainedTokenizerBase, token_ids: list[int], stop_ids: frozenset[int]) -> str:
    """Return a completion's text without the token that ended it; other special tokens stay visible."""
    kept = token_ids[:-1] if token_ids and token_ids[-1] in stop_ids else token_ids
    return str(tokenizer.decode(kept, skip_special_tokens=False))


def end_of_sequence(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the id of the end-of-sequence token.

    Raises:
        PolicyError: If the tokenizer has none.
    """
    if tokenizer.eos_token_id is None:
        raise PolicyError("the tokenizer has no end-of-sequence token", fix="set eos_token in tokenizer_config.json")
    return int(tokenizer.eos_token_id)


def padding(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the id that fills rows: the padding token's, else the end-of-sequence token's (masks hide it)."""
    return end_of_sequence(tokenizer) if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)


def _encode(tokenizer: PreTrainedTokenizerBase, text: str, *, special: bool, split: bool = False) -> list[int]:
    try:
        return list(tokenizer.encode(text, add_special_tokens=special, split_special_tokens=split))
    except Exception as error:  # the tokenizers library raises bare exceptions
        unknown = sorted(set(text) - set(tokenizer.get_vocab()))
        raise DataError(
            f"text cannot be encoded, its characters {''.join(unknown)!r} are not in the tokenizer's alphabet: "
            f"{text[:60]!r} ({error})",
            fix="add the characters to model.tokenizer.characters, or take them out of the data",
        ) from error


@dataclass(frozen=True)
class TokenizerIdentity:
    """What two models must share for one to score the other's tokens.

    Args:
        tokens: Id to token.
        special: Role (``eos_token``, ...) to token.
        chat_template: The template's text; empty for none.
    """

    tokens: Mapping[int, str] = field(repr=False)
    special: Mapping[str, str]
    chat_template: str = field(default="", repr=False)

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> TokenizerIdentity:
        """Read a tokenizer's identity."""
        tokens = {index: token for token, index in tokenizer.get_vocab().items()}
        special = {role: str(token) for role, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
        return cls(dict(sorted(tokens.items())), special, str(tokenizer.chat_template or ""))

    @cached_property
    def vocabulary_hash(self) -> str:
        """SHA-256 of the id-to-token map."""
        return _digest([[index, token] for index, token in self.tokens.items()])

    @cached_property
    def chat_template_hash(self) -> str:
        """SHA-256 of the chat template."""
        return _digest(self.chat_template)

    def to_json(self) -> dict[str, Any]:
        """Return sizes and hashes, as the lock keeps them."""
        return {
            "size": len(self.tokens),
            "vocabulary": self.vocabulary_hash,
            "special": dict(self.special),
            "chat_template": self.chat_template_hash,
        }

    def difference(self, other: TokenizerIdentity) -> str | None:
        """Say in one sentence how another tokenizer differs, or return None if it is the same one.

        Vocabularies of different sizes are the same if they agree on the ids that both have and the rest only pads.
        """
        for index in sorted(self.tokens.keys() & other.tokens.keys()):
            if self.tokens[index] != other.tokens[index]:
                return f"token id {index} is {self.tokens[index]!r} here and {other.tokens[index]!r} there"
        extra = {**self.tokens, **other.tokens}
        for index in sorted(self.tokens.keys() ^ other.tokens.keys()):
            if not PADDING_NAME.search(extra[index]):
                side = "here" if index in self.tokens else "there"
                return f"token id {index} ({extra[index]!r}) exists only {side}"
        return self._difference_in_roles(other)

    def _difference_in_roles(self, other: TokenizerIdentity) -> str | None:
        for role in ("eos_token", "bos_token", "pad_token"):
            mine, theirs = self.special.get(role), other.special.get(role)
            if mine != theirs and not (role == "pad_token" and None in (mine, theirs)):
                return f"its {role} is {mine!r} here and {theirs!r} there"
        if self.chat_template != other.chat_template:
            return (
                f"the chat templates differ (sha256 {self.chat_template_hash[:12]} here, "
                f"{other.chat_template_hash[:12]} there)"
            )
        return None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()
