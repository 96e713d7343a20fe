"""Which completions are kept, and which make pairs: pure functions of what was judged.

Sources: Llama 2 (arXiv 2307.09288, section 3.2.3): the best of K, and the best of all earlier rounds; Llama 3
(arXiv 2407.21783, section 4.2). A completion that was cut at the token limit has no end to imitate: it is
never kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collegium.task import Message
from collegium.training.data_rows import with_system_prompt
from collegium_rejection_sampling.configs import RejectionSamplingConfig
from collegium_rejection_sampling.judged import Judged

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a stage leaves, and how it came about.

    Args:
        demonstrations: Rows ``{"prompt", "completion", "score", "source", "round", "domain", "task"}``.
        pairs: Rows ``{"prompt", "chosen", "rejected", "scores", "source", "round", "domain", "task"}``.
        metrics: Figures of this round.
    """

    demonstrations: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    metrics: dict[str, float]


def select(judged: Sequence[Judged], config: RejectionSamplingConfig, number: int) -> Selection:
    """Keep each prompt's best completions and make its pair.

    Args:
        judged: Every completion of this round.
        config: The stage's options.
        number: The round.
    """
    by_prompt = group(judged)
    kept = {key: best(each, config) for key, each in by_prompt.items()}
    demonstrations = [demonstration(each, config, number) for found in kept.values() for each in found]
    pairs = [made for each in by_prompt.values() if (made := pair(each, config, number)) is not None]
    metrics = {
        **pass_metrics(by_prompt.values(), config.min_score),
        "prompts": float(len(by_prompt)),
        "prompts/left_out": float(sum(not found for found in kept.values())),
        "kept/prompts": sum(bool(found) for found in kept.values()) / len(by_prompt),
        "kept/completions": len(demonstrations) / len(judged),
        "pairs": float(len(pairs)),
        "tokens": float(sum(each.tokens for each in judged)),
        "filtered": sum(not each.passes for each in judged) / len(judged),
        "duplicates": sum(len(each) - len({one.completion_key for one in each}) for each in by_prompt.values())
        / len(judged),
    }
    if demonstrations:
        metrics["score/kept"] = sum(row["score"] for row in demonstrations) / len(demonstrations)
    return Selection(demonstrations, pairs, metrics)


def group(judged: Iterable[Judged]) -> dict[str, list[Judged]]:
    """Return each prompt's completions, in order."""
    groups: dict[str, list[Judged]] = {}
    for each in judged:
        groups.setdefault(each.key, []).append(each)
    return groups


def usable(judged: Iterable[Judged]) -> list[Judged]:
    """Return the completions that ended, pass `keep_if` and have a score, each text once, best first.

    Equal scores stay in order.
    """
    distinct: dict[str, Judged] = {}
    for each in judged:
        if each.score is not None and each.passes and not each.truncated:
            distinct.setdefault(each.completion_key, each)
    return sorted(distinct.values(), key=lambda each: -_score(each))


def best(judged: Iterable[Judged], config: RejectionSamplingConfig) -> list[Judged]:
    """Return a prompt's best right completions; none if none is right."""
    bar = config.min_score
    return [each for each in usable(judged) if bar is None or _score(each) >= bar][: config.keep]


def pair(judged: Iterable[Judged], config: RejectionSamplingConfig, number: int) -> dict[str, Any] | None:
    """Return a prompt's best completion against its worst; None if none is right or they score too much alike."""
    found = usable(judged)
    if not found or (config.min_score is not None and _score(found[0]) < config.min_score):
        return None
    first, last = found[0], found[-1]
    if _score(first) - _score(last) <= config.pair_margin:
        return None
    return {
        "prompt": _written(first, config),
        "chosen": first.completion,
        "rejected": last.completion,
        "scores": [first.score, last.score],
        "source": [first.source, last.source],
        "round": number,
        "domain": first.domain,
        "task": first.task,
    }


def demonstration(judged: Judged, config: RejectionSamplingConfig, number: int) -> dict[str, Any]:
    """Return a kept completion as a row."""
    return {
        "prompt": _written(judged, config),
        "completion": judged.completion,
        "score": judged.score,
        "source": judged.source,
        "round": number,
        "domain": judged.domain,
        "task": judged.task,
    }


def merge(fresh: Sequence[Row], earlier: Sequence[Row], config: RejectionSamplingConfig) -> list[Row]:
    """Return the rows of all rounds, a completion of a prompt once.

    With ``earlier: all`` each round's rows stay; with ``best`` the `keep` best of a prompt, the newer ones first where
    scores are equal.
    """
    distinct: dict[tuple[str, str], Row] = {}
    for row in [*fresh, *sorted(earlier, key=lambda row: -row["round"])]:
        distinct.setdefault((_prompt_key(row), json.dumps(row["completion"], sort_keys=True)), row)
    if config.earlier == "all":
        return list(distinct.values())
    prompts: dict[str, list[Row]] = {}
    for (prompt, _), row in distinct.items():
        prompts.setdefault(prompt, []).append(row)
    ranked = [sorted(rows, key=lambda row: -row["score"])[: config.keep] for rows in prompts.values()]
    return [row for rows in ranked for row in rows]


def pass_metrics(prompts: Iterable[Sequence[Judged]], bar: float | None) -> dict[str, float]:
    """Return the share of right completions, and of prompts with a right one; of those that got a score."""
    scored = [[_score(each) for each in group if each.score is not None] for group in prompts]
    scored = [scores for scores in scored if scores]
    every = [score for scores in scored for score in scores]
    if not every:
        return {}
    metrics = {"score": sum(every) / len(every), "score/best": sum(map(max, scored)) / len(scored)}
    if bar is not None:
        metrics["pass@1"] = sum(score >= bar for score in every) / len(every)
        metrics["pass@K"] = sum(max(scores) >= bar for scores in scored) / len(scored)
    return metrics


def _score(judged: Judged) -> float:
    """Return a score that is known to be there."""
    if judged.score is None:
        raise ValueError(f"the completion of task {judged.task!r} has no score")
    return judged.score


def _written(judged: Judged, config: RejectionSamplingConfig) -> str | list[Message]:
    """Return a prompt as rows have it."""
    return with_system_prompt(judged.prompt, config.system_prompt) if config.system_prompt else judged.prompt


def _prompt_key(row: Row) -> str:
    return json.dumps(row["prompt"], sort_keys=True)
