"""The stage `difficulty-filter`: how often a model solves each training prompt, and the prompts in between.

Source: OLMo 3 (arXiv 2512.13961): prompts with a pass rate above 62.5 % over 8 rollouts are dropped before training
starts. It leaves `prompts.jsonl` for `prompts_from`, and `filtered.jsonl` with the prompts that it drops.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from collegium import DataError, Stage
from collegium.judge import RewardJudge
from collegium.task import Task
from collegium.training.batch import rewards_of
from collegium.training.checkpoint import write_aside
from collegium.training.context import StageContext
from collegium.training.data_rows import write_rows
from collegium.training.prompt_sets import PROMPTS_FILE
from collegium.training.rollouts import mean, reward_metrics
from collegium.training.sampling_loop import Draw, SamplingLoop, expect_models, judge_rest
from collegium.verdict import Abstain, Error
from collegium_data.chosen import chosen_tasks
from collegium_data.curate_config import OWNER
from collegium_data.sampling_configs import DifficultyFilterConfig

FILTERED_FILE = "filtered.jsonl"
"""Name of the file of dropped prompts."""


class DifficultyFilterStage(Stage):
    """Choose prompts by their pass rate."""

    Config = DifficultyFilterConfig

    def run(self, context: StageContext) -> None:
        """Sample and judge what is not done yet, then leave the prompts."""
        expect_models(context, 1)
        config: DifficultyFilterConfig = self.config
        loop = SamplingLoop(context, config.engine, chosen_tasks(context, config.prompts), config.batch)
        reward = context.build_reward(config.reward)
        rows = loop.run(lambda draw: self.step(context, loop, reward, draw), lambda rows: figures(rows, config))
        kept = [row for row in rows if reason(row, config) is None]
        empty = sorted({row["domain"] for row in rows} - {row["domain"] for row in kept})
        if empty:
            raise DataError(
                f"stage {context.job.id!r}: of domain {', '.join(empty)} no prompt has a pass rate from "
                f"{config.min_pass_rate:g} to {config.max_pass_rate:g}",
                fix="widen the range, look at more prompts, or use another model",
                owner=OWNER,
            )
        dropped = [{**row, "reason": why} for row in rows if (why := reason(row, config)) is not None]
        files = {PROMPTS_FILE: kept, FILTERED_FILE: dropped}
        write_aside(context.output / "data", lambda folder: write_rows(folder, files))

    def step(
        self, context: StageContext, loop: SamplingLoop[Task], reward: RewardJudge, draw: Draw[Task]
    ) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """Sample and judge one batch of prompts."""
        size = self.config.rollouts
        samples, known = loop.play(draw, draw.items, self.config.sampling, size)
        verdicts = judge_rest(reward, samples, known)
        context.write_samples(draw.number, samples, verdicts)
        scores = rewards_of(verdicts)
        rows = [
            pass_row(task, scores[index * size : (index + 1) * size], self.config.right)
            for index, task in enumerate(draw.items)
        ]
        return rows, {
            "rollouts": float(len(samples)),
            "truncated": mean(
                each.completion is not None and each.completion.finish_reason == "length" for each in samples
            ),
            "verdicts/abstain": mean(isinstance(verdict, Abstain) for verdict in verdicts),
            "verdicts/error": mean(isinstance(verdict, Error) for verdict in verdicts),
            **reward_metrics(samples, verdicts),
        }


def pass_row(task: Task, scores: Sequence[float], right: float) -> dict[str, Any]:
    """Return a prompt's row; rollouts without a score do not count, and without any there is no pass rate."""
    known = [score for score in scores if not math.isnan(score)]
    rate = sum(score >= right for score in known) / len(known) if known else None
    return {"domain": task.domain, "task": task.id, "pass_rate": rate, "rollouts": len(known)}


def reason(row: Mapping[str, Any], config: DifficultyFilterConfig) -> str | None:
    """Say why a prompt is dropped; None if it stays."""
    rate = row["pass_rate"]
    if rate is None:
        return "unscored"
    if rate > config.max_pass_rate:
        return "too easy"
    return "too hard" if rate < config.min_pass_rate else None


def figures(rows: Iterable[Mapping[str, Any]], config: DifficultyFilterConfig) -> dict[str, float]:
    """Return the metrics of the whole stage: mean pass rate, how many prompts there were, stayed and went, and why."""
    rows = list(rows)
    reasons = [reason(row, config) for row in rows]
    metrics = {
        "prompts": float(len(rows)),
        "prompts/kept": float(reasons.count(None)),
        **{f"prompts/{why}": float(reasons.count(why)) for why in ("too easy", "too hard", "unscored")},
    }
    for domain in sorted({row["domain"] for row in rows}):
        own = [(row, why) for row, why in zip(rows, reasons, strict=True) if row["domain"] == domain]
        metrics[f"pass_rate/{domain}"] = mean(row["pass_rate"] for row, _ in own if row["pass_rate"] is not None)
        metrics[f"prompts/kept/{domain}"] = float(sum(why is None for _, why in own))
    return metrics
