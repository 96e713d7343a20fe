"""What is curated: rows to imitate and training prompts, each with where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collegium import Demonstration, RecipeError
from collegium.kinds.data_files import locate
from collegium.task import Task
from collegium.training.context import StageContext
from collegium.training.data_rows import PlainPrompt, plain_completion, plain_prompt, prompt_text, read_rows
from collegium.training.supervised_data import DATA_FILE
from collegium_data.curate_config import OWNER, CurateConfig


@dataclass(frozen=True, slots=True)
class Item:
    """A row to imitate, or a training prompt.

    Args:
        source: The domain, stage or file that it comes from.
        name: What reports call it.
        domain: Its domain; empty where a file does not say.
        prompt: Text, or chat messages.
        completion: What to imitate, as JSON holds it; None for a prompt.
        quality: Label of a demonstration.
        more: Further keys of the row.
        images: Pictures that the prompt shows; prompts of other pictures are other prompts.
    """

    source: str
    name: str
    domain: str
    prompt: PlainPrompt
    completion: Any = None
    quality: str = ""
    more: dict[str, Any] = field(default_factory=dict)
    images: tuple[bytes, ...] = ()

    @property
    def prompt_text(self) -> str:
        """The prompt as one text."""
        return prompt_text(self.prompt)

    @property
    def completion_text(self) -> str:
        """The completion as one text: that of several turns is their JSON, which is as good for comparing."""
        return self.completion if isinstance(self.completion, str) else json.dumps(self.completion, ensure_ascii=False)


def gather(context: StageContext, config: CurateConfig) -> list[Item]:
    """Return every row: the domains' demonstrations by name, then those of files and of earlier stages.

    Raises:
        RecipeError: If `demonstrations` names a domain that the stage does not have.
        DataError: If a file cannot be read or is malformed.
    """
    items = list(_demonstrations(context, config))
    for name in config.data:
        items += _rows(Path(name).name, locate(name))
    for artifact in context.job.inputs.get("data_from", []):
        items += _rows(artifact.source, Path(artifact.path) / DATA_FILE)
    return items


def prompts(context: StageContext) -> list[Item]:
    """Return every training prompt, by domain."""
    return [_prompt(task) for _, tasks in sorted(context.tasks("train").items()) for task in tasks]


def _prompt(task: Task) -> Item:
    plain = task.prompt if isinstance(task.prompt, str) else list(task.prompt)
    return Item(task.domain, task.id, task.domain, plain, images=task.images)


def _demonstrations(context: StageContext, config: CurateConfig) -> Iterator[Item]:
    offered = context.demonstrations()
    asked = sorted(offered) if config.demonstrations is None else config.demonstrations
    unknown = sorted(set(asked) - set(offered))
    if unknown:
        raise RecipeError(
            f"stage {context.job.id!r}: demonstrations names {', '.join(map(repr, unknown))}; the stage has "
            f"{', '.join(sorted(offered)) or 'none'}",
            fix="name domains of the stage",
            owner=OWNER,
        )
    for name in asked:
        yield from (_demonstration(name, each) for each in offered[name])


def _demonstration(domain: str, made: Demonstration) -> Item:
    more = {"task": made.task.id}
    completion = plain_completion(made.completion)
    return Item(domain, made.task.id, domain, plain_prompt(made.task), completion, made.quality, more)


def _rows(source: str, file: Path) -> Iterator[Item]:
    for name, row in read_rows(file, owner=OWNER):
        domain = row.get("domain")
        more = {key: value for key, value in row.items() if key not in ("prompt", "completion", "domain")}
        known = domain if isinstance(domain, str) else ""
        yield Item(source, name, known, row["prompt"], row["completion"], str(row.get("quality", "")), more)
