"""Rollouts that wait for training, as the plain data that a checkpoint holds, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from collegium.errors import PluginError
from collegium.kinds.engine import Generation
from collegium.task import Sample, Task
from collegium.training.rollouts import Group, RolloutCollector, Rollouts
from collegium.verdict import Abstain, Error, Score, Verdict


def encode(rollouts: Rollouts, tasks: Mapping[str, Sequence[Task]]) -> dict[str, Any]:
    """Return a step's rollouts as plain data and tensors.

    Tasks are named by domain and id; log-probs are kept in the float32 that a batch has.

    Raises:
        PluginError: If a task cannot be found again by its id, or a verdict's details are no JSON.
    """
    known = _by_name(tasks)
    return {
        "step": rollouts.step,
        "metrics": dict(rollouts.metrics),
        "groups": [_encode_group(group, known) for group in rollouts.groups],
    }


def decode(state: Mapping[str, Any], collector: RolloutCollector) -> Rollouts:
    """Return what `encode` was given; completions are decoded again."""
    known = _by_name(collector.tasks)
    groups = [_decode_group(group, number, known, collector) for number, group in enumerate(state["groups"])]
    return Rollouts(int(state["step"]), groups, dict(state["metrics"]))


def _by_name(tasks: Mapping[str, Sequence[Task]]) -> dict[tuple[str, str], Task]:
    return {(domain, task.id): task for domain, pool in tasks.items() for task in pool}


def _encode_group(group: Group, known: Mapping[tuple[str, str], Task]) -> dict[str, Any]:
    task = group.samples[0].task
    if known.get((task.domain, task.id)) != task:
        raise PluginError(
            f"the sampler drew task {task.id!r} of domain {task.domain!r}, and the domain's training task of that id "
            "is another or none: a checkpoint cannot name the rollouts that wait for training",
            fix="give every task of a source an id of its own, and draw the tasks as they are; or staleness: 0",
        )
    return {
        "task": [task.domain, task.id],
        "kept": int(group.kept),
        "prompt": torch.tensor(group.prompt, dtype=torch.int32),
        "rows": [_encode_row(made) for made in group.generations],
        "verdicts": [_encode_verdict(verdict) for verdict in group.verdicts],
    }


def _decode_group(
    state: Mapping[str, Any], number: int, known: Mapping[tuple[str, str], Task], collector: RolloutCollector
) -> Group:
    domain, name = state["task"]
    generations = [_decode_row(row) for row in state["rows"]]
    samples = [Sample(known[domain, name], collector.completion(made), group=number) for made in generations]
    verdicts = [_decode_verdict(verdict) for verdict in state["verdicts"]]
    return Group(state["prompt"].tolist(), generations, samples, verdicts, bool(state["kept"]))


def _encode_row(made: Generation) -> dict[str, Any]:
    return {
        "tokens": torch.tensor(made.token_ids, dtype=torch.int32),
        "logprobs": torch.tensor(made.logprobs, dtype=torch.float32),
        "finish": made.finish_reason,
        "version": made.weight_version,
    }


def _decode_row(row: Mapping[str, Any]) -> Generation:
    tokens, logprobs = tuple(row["tokens"].tolist()), tuple(row["logprobs"].tolist())
    return Generation(tokens, logprobs, row["finish"], int(row["version"]))


def _encode_verdict(verdict: Verdict) -> list[Any]:
    if isinstance(verdict, Abstain):
        return ["abstain", verdict.reason]
    if isinstance(verdict, Error):
        return ["error", verdict.reason, verdict.owner]
    try:
        return ["score", verdict.value, json.dumps(dict(verdict.details))]
    except (TypeError, ValueError) as error:
        raise PluginError(
            f"the details of a score cannot be kept in a checkpoint: {error}",
            fix="let the verifier give details that are JSON",
        ) from error


def _decode_verdict(state: Sequence[Any]) -> Verdict:
    kind, *fields = state
    if kind == "score":
        return Score(fields[0], json.loads(fields[1]))
    return Abstain(*fields) if kind == "abstain" else Error(*fields)
