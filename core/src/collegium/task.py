"""Tasks, completions and samples: the light data that verifiers, routers and reward sources see (no torch)."""

from __future__ import annotations

from collections.abc import Mapping
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


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A task with a completion to imitate; `quality` is a free label such as ``"right"`` or ``"no-carry"``."""

    task: Task
    completion: str
    quality: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered.

    Args:
        text: The decoded completion, without the end-of-sequence token.
        finish_reason: ``"stop"`` if the model ended it, ``"length"`` if it was cut at the token limit.
        token_ids: The sampled ids, end-of-sequence included; empty when the text did not come from an engine.
    """

    text: str
    finish_reason: FinishReason = "stop"
    token_ids: tuple[int, ...] = ()


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
