"""Rankings: the demonstrations of one prompt, by quality, with worse completions made from them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from collegium import Demonstration, Task
from collegium.task import Message

Made = Literal["cut", "unrelated"]
"""A completion that is made: the worst one's first half, or the best one of another prompt."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """One task's completions, best first, and the quality of each."""

    task: Task
    completions: tuple[str, ...]
    qualities: tuple[str, ...]


def rank(demonstrations: Sequence[Demonstration], order: Sequence[str]) -> list[Ranking]:
    """Gather each prompt's demonstrations, best quality first; one of each quality, none twice.

    Args:
        demonstrations: Of any qualities; those that `order` does not name are left out.
        order: Qualities, best first.
    """
    by_task: dict[str, tuple[Task, dict[str, str]]] = {}
    for each in demonstrations:
        if each.quality in order:
            by_task.setdefault(each.task.id, (each.task, {}))[1].setdefault(each.quality, each.text)
    return [_ranking(task, shown, order) for task, shown in by_task.values()]


def add_worse(rankings: Sequence[Ranking], made: Sequence[Made], rng: random.Random) -> list[Ranking]:
    """Add completions that are made, each worse than all before it."""
    return [_with_worse(each, rankings, made, rng) for each in rankings]


def ranking_row(ranking: Ranking, ratings: Mapping[str, str]) -> dict[str, Any]:
    """Return the row of a file of rankings; a rating stands where two completions make it one pair."""
    row = {"prompt": _prompt(ranking.task.prompt), "completions": list(ranking.completions)}
    rating = ratings.get(ranking.qualities[-1]) if len(ranking.completions) == 2 else None
    return row if rating is None else {**row, "margin": rating}


def pair_rows(ranking: Ranking, ratings: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file of pairs, every pair rated by the quality of its worse completion."""
    for better, worse in combinations(range(len(ranking.completions)), 2):
        row = {
            "prompt": _prompt(ranking.task.prompt),
            "chosen": ranking.completions[better],
            "rejected": ranking.completions[worse],
        }
        rating = ratings.get(ranking.qualities[worse])
        yield row if rating is None else {**row, "margin": rating}


def _ranking(task: Task, shown: Mapping[str, str], order: Sequence[str]) -> Ranking:
    best_first = dict.fromkeys(shown[quality] for quality in order if quality in shown)
    of = {completion: quality for quality in reversed(order) if (completion := shown.get(quality)) is not None}
    return Ranking(task, tuple(best_first), tuple(of[completion] for completion in best_first))


def _with_worse(ranking: Ranking, others: Sequence[Ranking], made: Sequence[Made], rng: random.Random) -> Ranking:
    completions, qualities = list(ranking.completions), list(ranking.qualities)
    for kind in made:
        if kind == "cut":
            text = ranking.completions[-1]
            text = text[: len(text) // 2].rstrip()
        else:
            text = rng.choice(others).completions[0]
        if text and text not in completions:
            completions.append(text)
            qualities.append(kind)
    return Ranking(ranking.task, tuple(completions), tuple(qualities))


def _prompt(prompt: str | tuple[Message, ...]) -> str | list[Message]:
    return prompt if isinstance(prompt, str) else list(prompt)
