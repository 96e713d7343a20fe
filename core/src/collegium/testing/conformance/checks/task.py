"""Checks of task sources: two splits that share no prompt, tasks well formed, the same again."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from collegium.errors import DataError
from collegium.task import Demonstration, PicturedText, Task
from collegium.testing.conformance.check import check
from collegium.testing.conformance.outcome import NotApplicable, require
from collegium.testing.conformance.subject import Subject


@check("task")
def tasks_well_formed(subject: Subject) -> None:
    """Each split has tasks with unique ids, a prompt, data that are JSON, and the domain left empty."""
    for split, tasks in _splits(subject).items():
        require(bool(tasks), f"the split {split!r} is empty")
        twice = [name for name, count in Counter(task.id for task in tasks).items() if count > 1]
        require(not twice, f"ids that occur twice in {split!r}: {twice[:5]}")
        for task in tasks:
            require(isinstance(task, Task), f"{split!r} holds a {type(task).__name__}, expected Task")
            require(bool(task.prompt_text), f"task {task.id!r} has no prompt")
            require(task.domain == "", f"task {task.id!r} names the domain {task.domain!r}; the core fills it in")
            json.dumps(dict(task.data))


@check("task")
def splits_apart(subject: Subject) -> None:
    """No prompt and no id is in both splits."""
    splits = _splits(subject)
    for attribute in ("shown", "id"):
        train, heldout = ({getattr(task, attribute) for task in tasks} for tasks in splits.values())
        require(not train & heldout, f"{len(train & heldout)} in both splits by {attribute}")


@check("task")
def demonstrations_on_training_tasks(subject: Subject) -> None:
    """Demonstrations and raw texts show no held-out prompt."""
    source = _source(subject)
    heldout = {task.shown for task in source.tasks("heldout")}
    for shown in source.demonstrations():
        require(isinstance(shown, Demonstration), f"a {type(shown).__name__} among the demonstrations")
        require(shown.task.shown not in heldout, f"a demonstration of the held-out task {shown.task.id!r}")
    require(all(isinstance(text, str) for text in source.texts()), "texts() must give text")
    pictures = {image for _, images in heldout for image in images}
    for each in source.pictured_texts():
        require(isinstance(each, PicturedText), f"a {type(each).__name__} among the texts with pictures")
        require(not pictures & set(each.images), f"a held-out picture beside the text {each.text!r}")


@check("task")
def files_exist(subject: Subject) -> None:
    """The files that it names exist, so that their digests can be taken."""
    missing = [str(file) for file in _source(subject).files() if not file.exists()]
    require(not missing, f"files() names what is not there: {', '.join(missing)}")


def _source(subject: Subject) -> Any:
    """Return the shared instance, once its data could be read."""
    try:
        subject.shared.tasks("heldout")
    except DataError as error:
        raise NotApplicable(f"its data are not here: {error.problems[0].what}") from error
    return subject.shared


def _splits(subject: Subject) -> dict[str, list[Task]]:
    source = _source(subject)
    return {split: list(source.tasks(split)) for split in ("train", "heldout")}
