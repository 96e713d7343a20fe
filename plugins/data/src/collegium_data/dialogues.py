"""Dialogues for Ghost Attention: what a model is shown while they are sampled, and what is left to train on.

The instruction stands before every user turn when the answers are sampled, and before the first one only in the row:
so a model learns to keep to what it was told once. The row's completion is the last answer; earlier ones are prompt,
which is read and never trained.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from collegium import DataError
from collegium.task import Completion, Message, Task
from collegium.training.seeds import derive
from collegium_data.curate_config import OWNER
from collegium_data.sampling_configs import GhostAttentionConfig, Instruction


@dataclass(slots=True)
class Dialogue:
    """One dialogue.

    Args:
        tasks: The user's turns.
        instruction: What shall hold for all of them.
        joiner: What stands between the instruction and the user's words.
        answers: The model's turns so far.
        dropped: Why it is not kept; empty if it is.
    """

    tasks: tuple[Task, ...]
    instruction: Instruction
    joiner: str
    answers: list[Completion] = field(default_factory=list)
    dropped: str = ""

    def prompt(self, turn: int) -> tuple[Message, ...]:
        """Return what the model is shown before its answer of a turn, from 0: the instruction is in every user turn."""
        return self._messages(turn, instructed=turn + 1)

    def row(self) -> dict[str, Any]:
        """Return the row to train on: the instruction is in the first user turn alone."""
        last = self.tasks[-1]
        return {
            "prompt": list(self._messages(len(self.tasks) - 1, instructed=1)),
            "completion": self.answers[-1].text,
            "domain": last.domain,
            "tasks": [task.id for task in self.tasks],
            "instruction": self.instruction.text,
        }

    def _messages(self, turn: int, instructed: int) -> tuple[Message, ...]:
        """Return the messages up to the user's turn, the instruction in the first `instructed` user turns."""
        messages: list[Message] = []
        for index, task in enumerate(self.tasks[: turn + 1]):
            said = user_text(task)
            content = f"{self.instruction.text}{self.joiner}{said}" if index < instructed else said
            messages.append(Message(role="user", content=content))
            if index < turn:
                messages.append(Message(role="assistant", content=self.answers[index].text))
        return tuple(messages)


def user_text(task: Task) -> str:
    """Return what the user says in a task.

    Raises:
        DataError: If its prompt is neither text nor one user message, or it has pictures.
    """
    if task.images or not (isinstance(task.prompt, str) or [turn["role"] for turn in task.prompt] == ["user"]):
        raise DataError(
            f"task {task.id!r} of domain {task.domain!r} is no single user turn, and dialogues are made of these",
            fix="leave its domain out with domains: [...]",
            owner=OWNER,
        )
    return task.prompt if isinstance(task.prompt, str) else task.prompt[0]["content"]


def make_dialogues(tasks: Mapping[str, Sequence[Task]], config: GhostAttentionConfig, seed: int) -> list[Dialogue]:
    """Return the dialogues to sample: domains in turn, their tasks and instructions by the seed, no task twice in one.

    Raises:
        DataError: If a domain has fewer tasks than a dialogue has turns, or a task is no single user turn.
    """
    for name, own in tasks.items():
        if len(own) < config.turns:
            raise DataError(
                f"domain {name!r} has {len(own)} training tasks, and a dialogue takes {config.turns} different ones",
                fix="set fewer turns, or leave the domain out",
                owner=OWNER,
            )
    names, dialogues = sorted(tasks), []
    for number in range(config.dialogues):
        rng = random.Random(derive(seed, "dialogue", number))
        chosen = rng.sample(list(tasks[names[number % len(names)]]), config.turns)
        for task in chosen:
            user_text(task)
        dialogues.append(Dialogue(tuple(chosen), rng.choice(config.instructions), config.joiner))
    return dialogues
