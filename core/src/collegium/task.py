"""Tasks, completions and samples: the light data that verifiers, routers and reward sources see (no torch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

Split = Literal["train", "heldout"]
FinishReason = Literal["stop", "length"]


class Message(TypedDict):
    """One chat turn, as chat templates take it."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to do.

    Args:
        id: Unique within its task source; split-stable.
        prompt: Plain text (used as is), or chat messages (rendered by the student's chat template; a last message of
            the assistant begins its answer and is read, never trained).
        reference: The gold answer as text, where there is one.
        data: What the verifier reads besides the reference, such as ``{"tests": [...]}``. JSON-serialisable.
        domain: The recipe's name for the domain; the core fills it in.
        mode: How it shall be answered, where a model has several ways, such as ``"think"``; the prompt says it too.
        images: Pictures that the prompt shows, as PNG files in memory; the prompt has the model's placeholder for each.
    """

    id: str
    prompt: str | tuple[Message, ...]
    reference: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    domain: str = ""
    mode: str = ""
    images: tuple[bytes, ...] = ()

    @property
    def prompt_text(self) -> str:
        """The prompt as plain text: the text itself, or the messages' contents joined by blank lines."""
        if isinstance(self.prompt, str):
            return self.prompt
        return "\n\n".join(message["content"] for message in self.prompt)

    @property
    def shown(self) -> tuple[str, tuple[bytes, ...]]:
        """What a model is shown: the prompt as plain text, and the pictures. Tasks that share it are one."""
        return self.prompt_text, self.images


@dataclass(frozen=True, slots=True)
class PicturedText:
    """Raw text with pictures, to pretrain on.

    Args:
        text: The text; it has the model's placeholder for each picture.
        images: The pictures, as PNG files in memory.
    """

    text: str
    images: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """A part of a completion of several turns.

    Args:
        text: The turn's text, without the end-of-sequence token that ends a turn of the model.
        sampled: Whether the model writes it. If not, an environment says it: it is read and never trained.
        token_ids: Its ids; empty when the text did not come from an engine.
    """

    text: str
    sampled: bool = True
    token_ids: tuple[int, ...] = ()


def transcript(turns: Sequence[Turn]) -> str:
    """Return turns as one text: in order, and after each turn of the model but the last a newline, for its end."""
    last = len(turns) - 1
    return "".join(turn.text + "\n" * (turn.sampled and index < last) for index, turn in enumerate(turns))


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A task with a completion to imitate; `quality` is a free label such as ``"right"`` or ``"no-carry"``.

    A completion of several turns is a tuple of `Turn`, of which those of the environment are read and never trained.
    """

    task: Task
    completion: str | tuple[Turn, ...]
    quality: str = ""

    @property
    def text(self) -> str:
        """The completion as one text; see `transcript`."""
        return self.completion if isinstance(self.completion, str) else transcript(self.completion)


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered.

    Args:
        text: The decoded completion, without the end-of-sequence token; of several turns, their `transcript`.
        finish_reason: ``"stop"`` if the model ended it, ``"length"`` if it was cut at the token limit.
        token_ids: All ids, end-of-sequence and an environment's included; empty when the text did not come from an
            engine.
        turns: Its turns, where an environment took part: the model's and the environment's, the last one the model's.
    """

    text: str
    finish_reason: FinishReason = "stop"
    token_ids: tuple[int, ...] = ()
    turns: tuple[Turn, ...] = ()

    @property
    def length(self) -> int:
        """How many tokens the model sampled; an environment's do not count."""
        return sum(len(turn.token_ids) for turn in self.turns if turn.sampled) if self.turns else len(self.token_ids)


@dataclass(frozen=True, slots=True)
class Sample:
    """A task with (once there is one) a completion: what routers route and reward sources score.

    Args:
        group: Samples of one prompt in one batch share a group number.
    """

    task: Task
    completion: Completion | None = None
    group: int = 0

    @property
    def domain(self) -> str:
        """The task's domain."""
        return self.task.domain
