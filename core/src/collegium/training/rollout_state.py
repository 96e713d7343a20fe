"""Rollouts that wait for training, as the plain data that a checkpoint holds, and back.

What a checkpoint holds may be damaged or another program's: it is checked before anything is made of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import torch
from torch import Tensor

from collegium.errors import PluginError, PolicyError
from collegium.kinds.engine import Generation
from collegium.task import FinishReason, Sample, Task
from collegium.training.kept_sets import KeptSets
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


def restore(waiting: Sequence[Mapping[str, Any]], collector: RolloutCollector, done: int) -> list[Rollouts]:
    """Return the rollouts that wait in the checkpoint after step `done`, in order.

    Raises:
        PolicyError: If they are not those of the steps that follow, or hold what this stage cannot have sampled.
    """
    try:
        problem = next(_faults(waiting, collector, done), None)
        found = [] if problem else [decode(each, collector) for each in waiting]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise _unusable(f"they are not laid out as rollouts: {error!r}", collector, done) from error
    if problem:
        raise _unusable(problem, collector, done)
    return found


def _unusable(problem: str, collector: RolloutCollector, done: int) -> PolicyError:
    path = collector.context.checkpoints.folder / f"step-{done:08d}"
    return PolicyError(
        f"checkpoint {str(path)!r}: the rollouts that wait in it cannot be trained on: {problem}",
        fix="delete its folder; the stage then starts earlier",
    )


def _faults(waiting: Sequence[Mapping[str, Any]], collector: RolloutCollector, done: int) -> Iterator[str]:
    """Yield what is wrong with a checkpoint's rollouts."""
    steps = [state["step"] for state in waiting]
    expected = list(range(done + 1, min(collector.config.steps, done + collector.config.staleness) + 1))
    if steps != expected:
        yield f"they are of the steps {steps}, expected {expected}"
    known = _by_name(collector.tasks)
    for state in waiting:
        for number, group in enumerate(state["groups"]):
            for fault in _group_faults(group, known, collector, done):
                yield f"step {state['step']}, group {number}: {fault}"


def _group_faults(
    group: Mapping[str, Any], known: Mapping[tuple[str, str], Task], collector: RolloutCollector, done: int
) -> Iterator[str]:
    domain, name = group["task"]
    if (domain, name) not in known:
        yield f"domain {domain!r} has no training task {name!r}"
    rows, judged = len(group["rows"]), len(group["verdicts"])
    if rows != collector.config.group or judged != (0 if collector.reward is None else rows):
        yield f"{rows} completions with {judged} verdicts, expected {collector.config.group}"
    vocabulary = collector.policy.vocabulary
    if not _are_ids(group["prompt"].tolist(), vocabulary):
        yield f"its prompt is empty or holds ids outside the vocabulary of {vocabulary}"
    for index, row in enumerate(group["rows"]):
        for fault in _row_faults(row, vocabulary, done):
            yield f"completion {index}: {fault}"
        for fault in _kept_faults(row, vocabulary, expected=collector.config.sampling.keep_mask):
            yield f"completion {index}: {fault}"


def _row_faults(row: Mapping[str, Any], vocabulary: int, done: int) -> Iterator[str]:
    tokens, logprobs = row["tokens"].tolist(), row["logprobs"].tolist()
    if not _are_ids(tokens, vocabulary):
        yield f"no tokens, or ids outside the vocabulary of {vocabulary}"
    if len(tokens) != len(logprobs):
        yield f"{len(tokens)} tokens with {len(logprobs)} log-probs"
    if not all(math.isfinite(value) for value in logprobs):
        yield "log-probs that are not finite"
    if "sampled" in row and (len(row["sampled"]) != len(tokens) or not bool(row["sampled"][-1])):
        yield f"{len(row['sampled'])} marks of who wrote them for {len(tokens)} tokens, the last of them the model's"
    if row["finish"] not in get_args(FinishReason):
        yield f"finish reason {row['finish']!r}"
    if not 0 <= row["version"] <= done:
        yield f"sampled with the weights after step {row['version']}, which were not there"


def _kept_faults(row: Mapping[str, Any], vocabulary: int, *, expected: bool) -> Iterator[str]:
    if ("kept" in row) != expected:
        yield f"{'no' if expected else 'a'} record of what truncation kept, and sampling.keep_mask is {expected}"
    if "kept" not in row:
        return
    ids, counts, tokens = row["kept"], row["kept_counts"], row["tokens"]
    if len(counts) != len(tokens) or bool((counts < 0).any()) or int(counts.sum()) != len(ids):
        yield f"{len(counts)} sets of {len(ids)} kept ids for {len(tokens)} tokens"
        return
    some = counts > 0  # a token that an environment wrote has none
    if not _are_ids(ids.tolist(), vocabulary) or not KeptSets(ids, counts[some]).hold(tokens[some]):
        yield "kept ids that are outside the vocabulary, or without the token that was sampled"


def _are_ids(tokens: Sequence[int], vocabulary: int) -> bool:
    return bool(tokens) and all(0 <= token < vocabulary for token in tokens)


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
        "failed": sorted(group.failed),
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
    failed = frozenset(int(row) for row in state["failed"])
    return Group(state["prompt"].tolist(), generations, samples, verdicts, bool(state["kept"]), failed)


def _encode_row(made: Generation) -> dict[str, Any]:
    return {
        "tokens": torch.tensor(made.token_ids, dtype=torch.int32),
        "logprobs": torch.tensor(made.logprobs, dtype=torch.float32),
        "finish": made.finish_reason,
        "version": made.weight_version,
        **_encode_kept(made),
        **({} if made.sampled is None else {"sampled": torch.tensor(made.sampled)}),
    }


def _encode_kept(made: Generation) -> dict[str, Tensor]:
    """Return the ids that truncation kept; nothing where it cut nothing."""
    if made.kept is None:
        return {}
    return {
        "kept": torch.tensor([token for ids in made.kept for token in ids], dtype=torch.int32),
        "kept_counts": torch.tensor([len(ids) for ids in made.kept], dtype=torch.int32),
    }


def _decode_row(row: Mapping[str, Any]) -> Generation:
    tokens, logprobs = tuple(row["tokens"].tolist()), tuple(row["logprobs"].tolist())
    kept = KeptSets(row["kept"], row["kept_counts"]).sets() if "kept" in row else None
    sampled = tuple(row["sampled"].tolist()) if "sampled" in row else None
    return Generation(tokens, logprobs, row["finish"], int(row["version"]), sampled, kept)


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
    made: Verdict = {"abstain": Abstain, "error": Error}[kind](*fields)
    return made
