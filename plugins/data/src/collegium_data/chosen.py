"""Which training tasks a sampling stage looks at."""

from __future__ import annotations

from collegium.task import Task
from collegium.training.context import StageContext
from collegium_data.mixing import choose


def chosen_tasks(context: StageContext, most: int | None) -> list[Task]:
    """Return the training tasks of every domain, by its name; at most `most` of each, chosen by the seed."""
    found: list[Task] = []
    for name, tasks in sorted(context.tasks("train").items()):
        count = len(tasks) if most is None else most
        found += [tasks[place] for place in choose(count, len(tasks), context.seed, context.job.id, "prompts", name)]
    return found
