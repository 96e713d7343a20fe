"""The stage `preference-pairs`: a strong model's completion is chosen, a weak one's on the same prompt is rejected.

Source: delta learning, as OLMo 3 uses it (arXiv 2512.13961): nothing is scored; what preference training learns is the
difference between the models. `generate_from` names the strong model, then the weak one. It leaves `pairs.jsonl`, and
`data.jsonl` with the chosen completions, to compare with imitating them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from collegium import DataError, Stage
from collegium.task import Task
from collegium.training.checkpoint import write_aside
from collegium.training.context import StageContext
from collegium.training.data_rows import PAIRS_FILE, plain_prompt, write_rows
from collegium.training.rollouts import mean
from collegium.training.sampling_loop import Draw, SamplingLoop, expect_models, refuse_environments
from collegium.training.supervised_data import DATA_FILE
from collegium_data.chosen import chosen_tasks
from collegium_data.curate_config import OWNER
from collegium_data.sampling_configs import PreferencePairsConfig


class PreferencePairsStage(Stage):
    """Make pairs of two models' completions."""

    Config = PreferencePairsConfig

    def run(self, context: StageContext) -> None:
        """Sample what is not done yet, then leave the pairs."""
        expect_models(context, 2)
        refuse_environments(context)
        config: PreferencePairsConfig = self.config
        loop = SamplingLoop(context, config.engine, chosen_tasks(context, config.prompts), config.batch)
        rows = loop.run(lambda draw: self.step(loop, draw), lambda rows: pair_up(rows, keep_cut=config.keep_cut)[1])
        pairs, _ = pair_up(rows, keep_cut=config.keep_cut)
        if not pairs:
            raise DataError(
                f"stage {context.job.id!r}: none of {len(rows) // 2} pairs has two different completions that ended",
                fix="raise sampling.max_tokens, or use models that differ",
                owner=OWNER,
            )
        files = {PAIRS_FILE: pairs, DATA_FILE: [demonstration(pair) for pair in pairs]}
        write_aside(context.output / "data", lambda folder: write_rows(folder, files))

    def step(self, loop: SamplingLoop[Task], draw: Draw[Task]) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """Sample one batch of prompts from one model."""
        samples, _ = loop.play(draw, draw.items, self.config.sampling, self.config.samples)
        made = [each.completion for each in samples if each.completion is not None]
        rows = [
            {
                "domain": sample.task.domain,
                "task": sample.task.id,
                "prompt": plain_prompt(sample.task),
                "completion": completion.text,
                "cut": completion.finish_reason == "length",
                "source": draw.source,
            }
            for sample, completion in zip(samples, made, strict=True)
        ]
        return rows, {
            "rollouts": float(len(rows)),
            "length": mean(each.length for each in made),
            "truncated": mean(each.finish_reason == "length" for each in made),
        }


def pair_up(rows: Sequence[Mapping[str, Any]], *, keep_cut: bool) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return the pairs, and how many there were and were left out.

    Args:
        rows: The strong model's rows, then as many of the weak one, in the same order of prompts.
        keep_cut: Whether a completion without an end makes a pair.
    """
    half = len(rows) // 2
    both = list(zip(rows[:half], rows[half:], strict=True))
    cut = [not keep_cut and (strong["cut"] or weak["cut"]) for strong, weak in both]
    equal = [strong["completion"] == weak["completion"] for strong, weak in both]
    pairs = [pair(*each) for each, no_end, same in zip(both, cut, equal, strict=True) if not (no_end or same)]
    return pairs, {
        "pairs": float(len(pairs)),
        "pairs/offered": float(half),
        "dropped/cut": float(sum(cut)),
        "dropped/equal": float(sum(same and not no_end for same, no_end in zip(equal, cut, strict=True))),
        **_lengths(pairs),
    }


def pair(strong: Mapping[str, Any], weak: Mapping[str, Any]) -> dict[str, Any]:
    """Return a pair's row."""
    return {
        "prompt": strong["prompt"],
        "chosen": strong["completion"],
        "rejected": weak["completion"],
        "source": [strong["source"], weak["source"]],
        "domain": strong["domain"],
        "task": strong["task"],
    }


def demonstration(pair: Mapping[str, Any]) -> dict[str, Any]:
    """Return a pair's chosen completion as a row to imitate."""
    return {
        "prompt": pair["prompt"],
        "completion": pair["chosen"],
        "source": pair["source"][0],
        "domain": pair["domain"],
        "task": pair["task"],
    }


def _lengths(pairs: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the mean characters of both sides: what a preference for length alone would see."""
    found = list(pairs)
    return {f"characters/{side}": mean(len(each[side]) for each in found) for side in ("chosen", "rejected") if found}
