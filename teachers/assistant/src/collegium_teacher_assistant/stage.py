"""The stage `preference-data`: what a reward model or DPO is trained on, made of answers of several qualities.

They are the demonstrations of the stage's domains, or all that a task source has in its method `answers`. Only training
prompts have any, so no held-out prompt is among the rows. The form of rows is that of
`collegium-reward-model`; InstructGPT ranks several completions (arXiv 2203.02155, section 3.2), Llama 2 rates pairs in
four words (arXiv 2307.09288, section 3.2.1).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from collegium import DataError, Demonstration, Stage
from collegium.training.checkpoint import write_aside
from collegium.training.context import StageContext
from collegium.training.seeds import derive
from collegium_teacher_assistant.exchanges import OWNER
from collegium_teacher_assistant.rankings import Ranking, add_worse, pair_rows, rank, ranking_row
from collegium_teacher_assistant.stage_config import PreferenceDataConfig

PAIRS_FILE = "pairs.jsonl"
"""Name of the file in the data artifact's folder."""


@runtime_checkable
class HasAnswers(Protocol):
    """A task source that knows more answers to its training tasks than it demonstrates."""

    def answers(self) -> Sequence[Demonstration]:
        """Return every answer to each training task, marked with its quality."""


class PreferenceDataStage(Stage):
    """Write rankings or pairs from the answers of the stage's domains."""

    Config = PreferenceDataConfig

    def run(self, context: StageContext) -> None:
        """Rank every domain's answers, add worse completions, and leave the rows."""
        rng = random.Random(derive(context.seed, context.job.id, "preferences"))
        rankings = [each for ranked in self._ranked(context) for each in add_worse(ranked, self.config.worse, rng)]
        rankings = [each for each in rankings if len(each.completions) > 1]
        if not rankings:
            raise DataError(
                f"stage {context.job.id!r} found no prompt with answers of two qualities among {self.config.order}",
                fix="give it a domain whose demonstrations have several, name their qualities in order, or add worse",
                owner=OWNER,
            )
        rng.shuffle(rankings)
        chosen = rankings[: self.config.most]
        rows = list(self._rows(chosen))
        context.emit(1, 1, {"prompts": float(len(chosen)), "rows": float(len(rows)), **_sizes(chosen)})
        write_aside(context.output / "data", lambda folder: _write(folder, rows))

    def _ranked(self, context: StageContext) -> Iterator[list[Ranking]]:
        for domain in context.domains.values():
            answers = domain.source.answers() if isinstance(domain.source, HasAnswers) else domain.demonstrations()
            context.refuse_held_out([each.task.prompt_text for each in answers], f"answers of domain {domain.name!r}")
            yield rank(answers, self.config.order)

    def _rows(self, rankings: Sequence[Ranking]) -> Iterator[dict[str, Any]]:
        for each in rankings:
            if self.config.form == "pairs":
                yield from pair_rows(each, self.config.ratings)
            else:
                yield ranking_row(each, self.config.ratings)


def _sizes(rankings: Sequence[Ranking]) -> dict[str, float]:
    return {"completions": sum(len(each.completions) for each in rankings) / len(rankings)}


def _write(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / PAIRS_FILE).write_text(lines, encoding="utf-8")
