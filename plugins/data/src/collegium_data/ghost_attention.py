"""The stage `ghost-attention`: dialogues that keep to an instruction of their first turn, sampled from a model.

Source: Llama 2 (arXiv 2307.09288, section 3.3). A dialogue is dropped if an answer was cut at the token limit, is no
longer what the checks ask for, or leaves no room for the next turn; each reason is counted.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from collegium import DataError, Score, Stage
from collegium.judge import Judge, RewardJudge
from collegium.task import Sample
from collegium.training.checkpoint import write_aside
from collegium.training.context import StageContext
from collegium.training.data_rows import write_rows
from collegium.training.rollouts import mean
from collegium.training.sampling_loop import Draw, SamplingLoop, expect_models, refuse_environments
from collegium.training.seeds import derive
from collegium.training.supervised_data import DATA_FILE
from collegium.training.tokenizers import encode_prompt
from collegium_data.curate_config import OWNER
from collegium_data.dialogues import Dialogue, make_dialogues
from collegium_data.sampling_configs import GhostAttentionConfig

REASONS = ("cut", "no room", "instruction", "wrong")
"""Why a dialogue is dropped."""


class GhostAttentionStage(Stage):
    """Sample dialogues under an instruction, and leave them as if it had been said once."""

    Config = GhostAttentionConfig

    def run(self, context: StageContext) -> None:
        """Sample what is not done yet, then leave the rows."""
        expect_models(context, 1)
        refuse_environments(context)
        config: GhostAttentionConfig = self.config
        dialogues = make_dialogues(context.tasks("train"), config, derive(context.seed, context.job.id))
        loop = SamplingLoop(context, config.engine, dialogues, config.batch)
        check = context.build_part(config.check, "verifier") if config.check else None
        rows = loop.run(lambda draw: self.step(context, loop, check, draw), figures)
        kept = [{key: value for key, value in row.items() if key != "dropped"} for row in rows if not row["dropped"]]
        if not kept:
            counts = ", ".join(f"{name} {int(count)}" for name, count in figures(rows).items())
            raise DataError(
                f"stage {context.job.id!r}: no dialogue is left ({counts})",
                fix="use a model that follows the instruction, raise sampling.max_tokens, or set fewer turns",
                owner=OWNER,
            )
        write_aside(context.output / "data", lambda folder: write_rows(folder, {DATA_FILE: kept}))

    def step(
        self,
        context: StageContext,
        loop: SamplingLoop[Dialogue],
        check: Judge | RewardJudge | None,
        draw: Draw[Dialogue],
    ) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """Sample one batch of dialogues, turn after turn."""
        dialogues = [copy.copy(each) for each in draw.items]
        for each in dialogues:
            each.answers = []
        for turn in range(self.config.turns):
            self.answer(loop, draw, dialogues, turn)
            self.judge(context, check, dialogues, turn)
        rows = [
            {**(each.row() if not each.dropped else {}), "dropped": each.dropped} for each in dialogues
        ]  # fmt: skip
        answers = [answer for each in dialogues for answer in each.answers]
        return rows, {
            "rollouts": float(len(answers)),
            "length": mean(len(each.token_ids) for each in answers),
            "truncated": mean(each.finish_reason == "length" for each in answers),
        }

    def answer(
        self, loop: SamplingLoop[Dialogue], draw: Draw[Dialogue], dialogues: Sequence[Dialogue], turn: int
    ) -> None:
        """Sample the answers of a turn; a dialogue without room for one, or whose answer was cut, is dropped."""
        room = draw.model.context_length
        asked: list[tuple[Dialogue, list[int]]] = []
        for each in (one for one in dialogues if not one.dropped):
            ids = encode_prompt(draw.model.tokenizer, each.prompt(turn))
            if room is not None and len(ids) + self.config.sampling.max_tokens > room:
                each.dropped = "no room"
            else:
                asked.append((each, ids))
        made = loop.sample(draw, [ids for _, ids in asked], self.config.sampling, turn)
        for (each, _), completion in zip(asked, made, strict=True):
            each.answers.append(completion)
            each.dropped = "cut" if completion.finish_reason == "length" else ""

    def judge(
        self, context: StageContext, check: Judge | RewardJudge | None, dialogues: Sequence[Dialogue], turn: int
    ) -> None:
        """Drop the dialogues whose answer of a turn does not pass what is asked for."""
        if check is not None:
            alive = [each for each in dialogues if not each.dropped]
            tasks = [replace(each.tasks[turn], data=each.instruction.data) for each in alive]
            samples = [Sample(task, each.answers[turn]) for task, each in zip(tasks, alive, strict=True)]
            _drop_failed(check, alive, samples, "instruction")
        for name, domain in context.domains.items() if self.config.verify else ():
            alive = [each for each in dialogues if not each.dropped and each.tasks[turn].domain == name]
            _drop_failed(domain.judge, alive, [Sample(each.tasks[turn], each.answers[turn]) for each in alive], "wrong")


def _drop_failed(
    judge: Judge | RewardJudge, dialogues: Sequence[Dialogue], samples: Sequence[Sample], reason: str
) -> None:
    """Drop the dialogues whose sample is not scored 1; one without a score is not known to be right."""
    for each, verdict in zip(dialogues, judge.judge(samples), strict=True):
        if not (isinstance(verdict, Score) and verdict.value == 1):
            each.dropped = reason


def figures(rows: Sequence[Any]) -> dict[str, float]:
    """Return how many dialogues there were, stayed and were dropped for what."""
    reasons = [row["dropped"] for row in rows]
    return {
        "dialogues": float(len(reasons)),
        "dialogues/kept": float(reasons.count("")),
        **{f"dropped/{reason}": float(reasons.count(reason)) for reason in REASONS},
    }
