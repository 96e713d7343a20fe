"""What a reward model reads: prompt and completion as token ids, or the reason why they cannot be scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from collegium import Completion, DataError, Message, Task
from collegium.training.tokenizers import encode_completion, encode_prompt


@dataclass(frozen=True, slots=True)
class Unscorable:
    """A text that the model must not be asked about; `reason` says why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A text that the tokenizer cannot encode, or a task that does not fit the layout."""

    reason: str


class InputEncoder:
    """Encodes prompts and completions in one layout.

    Args:
        tokenizer: The reward model's.
        layout: See `RewardModelScoreConfig.layout`.
        longest: Most tokens.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, layout: Literal["chat", "prompt-completion"], longest: int
    ) -> None:
        self.tokenizer = tokenizer
        self.layout = layout
        self.longest = longest
        self._special = tuple(sorted({str(token) for token in tokenizer.all_special_tokens if str(token)}))

    def encode(self, completion: Completion, task: Task) -> list[int] | Unscorable | Unreadable:
        """Return the token ids, never cut."""
        if task.images:
            return Unscorable("the task has pictures, and the reward model reads text alone")
        # A special token that stands in the text would be read as one: a completion could end its turn, and let a
        # forged user praise it.
        if held := [token for token in self._special if token in completion.text]:
            return Unscorable(f"the completion holds the special token {held[0]!r} as text")
        try:
            ids = self._ids(completion.text, task)
        except DataError as error:
            return Unreadable(error.problems[0].what)
        if len(ids) > self.longest:
            return Unscorable(f"prompt and completion have {len(ids)} tokens, the model reads at most {self.longest}")
        return ids

    def _ids(self, text: str, task: Task) -> list[int]:
        if self.layout == "prompt-completion":
            return [*encode_prompt(self.tokenizer, task.prompt), *encode_completion(self.tokenizer, text)]
        turns: list[dict[str, Any]] = [*map(dict, _messages(task.prompt)), {"role": "assistant", "content": text}]
        rendered = self.tokenizer.apply_chat_template(turns, add_generation_prompt=False, tokenize=False)
        return encode_prompt_text(self.tokenizer, str(rendered))


def encode_prompt_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the ids of a rendered conversation, which holds its special tokens already.

    Raises:
        DataError: If it cannot be encoded.
    """
    try:
        return list(tokenizer.encode(text, add_special_tokens=False))
    except Exception as error:  # the tokenizers library raises bare exceptions
        raise DataError(f"the conversation cannot be encoded: {error}") from error


def _messages(prompt: str | Sequence[Message]) -> Sequence[Message]:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
