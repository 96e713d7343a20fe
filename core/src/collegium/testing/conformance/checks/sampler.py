"""Checks of samplers: the number asked for, from the pools, by the given random numbers only, resumable."""

from __future__ import annotations

import json
import random
from typing import Any

from collegium.testing.conformance.check import check
from collegium.testing.conformance.inputs import task_pools
from collegium.testing.conformance.outcome import require
from collegium.testing.conformance.subject import Subject, close

COUNTS = (1, 4, 3, 40, 2)


@check("sampler")
def draws_the_number(subject: Subject) -> None:
    """`draw` returns as many tasks as are asked for, all from the pools, also more than there are."""
    known = {task.id for tasks in task_pools().values() for task in tasks}
    for count, ids in zip(COUNTS, _draws(_started(subject), 0), strict=True):
        require(len(ids) == count, f"{len(ids)} tasks drawn, {count} asked for")
        require(set(ids) <= known, f"tasks that are in no pool: {sorted(set(ids) - known)}")


@check("sampler")
def draws_by_given_rng(subject: Subject) -> None:
    """The same seed draws the same tasks, whatever the state of the global random numbers, which stay untouched."""
    state = random.getstate()
    try:
        random.seed(1)
        before = random.getstate()
        first = _draws(_started(subject), 7)
        require(random.getstate() == before, "it draws from the global random numbers")
        random.seed(2)
        require(_draws(_started(subject), 7) == first, "the same seed drew other tasks")
    finally:
        random.setstate(state)


@check("sampler")
def resumes(subject: Subject) -> None:
    """`state_dict` is JSON, and a sampler that gets it back draws on as if nothing had happened."""
    sampler, resumed = _started(subject), _started(subject)
    _draws(sampler, 0)
    resumed.load_state_dict(json.loads(json.dumps(sampler.state_dict())))
    require(_draws(resumed, 9) == _draws(sampler, 9), "after load_state_dict(state_dict()) it draws other tasks")


@check("sampler")
def keeps_or_not(subject: Subject) -> None:
    """`keep` answers True or False, also for equal rewards and for those that are not known (NaN)."""
    sampler = _started(subject)
    for rewards in ([0.0, 1.0], [1.0, 1.0], [0.5], [float("nan"), 1.0], [float("nan")] * 2):
        found = sampler.keep(rewards)
        require(isinstance(found, bool), f"keep({rewards}) returned {found!r}, expected True or False")


def _started(subject: Subject) -> Any:
    sampler = subject.build()
    sampler.start(task_pools())
    close(sampler)
    return sampler


def _draws(sampler: Any, seed: int) -> list[list[str]]:
    return [[task.id for task in sampler.draw(n, random.Random(seed + step))] for step, n in enumerate(COUNTS)]
