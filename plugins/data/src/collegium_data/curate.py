"""The stage `curate`: rows and prompts from everywhere, sifted, mixed, and every drop accounted for.

Source: Tulu 3 (arXiv 2411.15124, section 3). It leaves `data.jsonl` (rows to imitate), `prompts.jsonl` (the training
tasks that stages with `prompts_from` use) and `dropped.jsonl` (what did not stay, why, and because of what).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from collegium import DataError, Stage
from collegium.training.checkpoint import write_aside
from collegium.training.context import StageContext
from collegium.training.data_rows import with_system_prompt, write_rows
from collegium.training.prompt_sets import PROMPTS_FILE
from collegium.training.supervised_data import DATA_FILE
from collegium_data.curate_config import OWNER, CurateConfig
from collegium_data.items import Item, gather, prompts
from collegium_data.mixing import choose, counts_of
from collegium_data.sieve import Dropped, Sieve, sift_prompts, sift_rows

DROPPED_FILE = "dropped.jsonl"
"""Name of the file that says what was dropped."""


class CurateStage(Stage):
    """Make a data set out of several."""

    Config = CurateConfig

    def run(self, context: StageContext) -> None:
        """Gather, sift, mix and write; a pure function of the inputs and the seed, so a killed stage starts anew."""
        context.journal.cut(0)
        heldout = context.held_out_tasks
        offered = gather(context, self.config)
        rows = sift_rows(offered, heldout, self.config)
        sifted = sift_prompts(prompts(context), heldout, self.config)
        kept, chosen = self.mixed(context, offered, rows.items), self.chosen_prompts(context, sifted.items)
        self.check(context, kept, chosen)
        for text in told(rows.dropped, sifted.dropped):
            context.message(text)
        context.emit(1, 1, figures(rows, kept, sifted, chosen))
        write_aside(context.output / "data", lambda folder: self.write(folder, kept, chosen, rows, sifted))

    def mixed(self, context: StageContext, offered: Sequence[Item], items: Sequence[Item]) -> list[Item]:
        """Return the rows of the mix, in order: of those that were offered, those that are left."""
        parts: dict[str, list[int]] = {self.part(item): [] for item in offered}
        for index, item in enumerate(items):
            parts[self.part(item)].append(index)
        counts = counts_of({name: len(found) for name, found in parts.items()}, self.config.sources, self.config.rows)
        chosen = [
            found[place]
            for name, found in parts.items()
            for place in choose(counts[name], len(found), context.seed, context.job.id, "mix", name)
        ]
        return [items[index] for index in sorted(chosen)]

    def part(self, item: Item) -> str:
        """Return what an item counts as in the mix."""
        return item.domain or item.source if self.config.mix_by == "domain" else item.source

    def chosen_prompts(self, context: StageContext, items: Sequence[Item]) -> list[Item]:
        """Return at most `prompts` of each domain's."""
        by_domain: defaultdict[str, list[Item]] = defaultdict(list)
        for item in items:
            by_domain[item.domain].append(item)
        most = self.config.prompts
        return [
            found[place]
            for name, found in by_domain.items()
            for place in choose(
                len(found) if most is None else most, len(found), context.seed, context.job.id, "prompts", name
            )
        ]

    def check(self, context: StageContext, rows: Sequence[Item], chosen: Sequence[Item]) -> None:
        """Refuse a result in which nothing is left, or nothing of a domain's prompts."""
        empty = sorted(set(context.domains) - {item.domain for item in chosen}) if self.config.prompts != 0 else []
        if empty or not (rows or chosen):
            raise DataError(
                f"stage {context.job.id!r}: no {'prompt of ' + ', '.join(empty) if empty else 'row'} is left",
                fix=f"loosen what {DROPPED_FILE}'s reasons name, such as decontaminate.share; prompts: 0 leaves none",
                owner=OWNER,
            )

    def write(
        self, folder: Path, rows: Sequence[Item], chosen: Sequence[Item], sifted_rows: Sieve, sifted: Sieve
    ) -> None:
        """Write the artifact; a file without a row is not written, as no stage could read it."""
        files = {
            DATA_FILE: [self.row(item) for item in rows],
            PROMPTS_FILE: [{"domain": item.domain, "task": item.name} for item in chosen],
            DROPPED_FILE: [dropped_row(each) for each in (*sifted_rows.dropped, *sifted.dropped)],
        }
        write_rows(folder, {name: found for name, found in files.items() if found})

    def row(self, item: Item) -> dict[str, Any]:
        """Return a row as it is written."""
        said = self.config.sources.get(self.part(item))
        prompt = with_system_prompt(item.prompt, said.system_prompt) if said and said.system_prompt else item.prompt
        domain = {"domain": item.domain} if item.domain else {}
        return {"prompt": prompt, "completion": item.completion, **item.more, **domain, "source": item.source}


def dropped_row(dropped: Dropped) -> dict[str, Any]:
    """Return what is written of a dropped item."""
    item = dropped.item
    kind = "prompt" if item.completion is None else "row"
    return {"source": item.source, kind: item.name, "reason": dropped.reason, "because": dropped.because}


def figures(rows: Sieve, kept: Sequence[Item], sifted: Sieve, chosen: Sequence[Item]) -> dict[str, float]:
    """Return the metrics: how many there were, stayed, and were dropped for what, by source."""
    made = {"rows": len(kept), "prompts": len(chosen), "rows/offered": len(rows.items) + len(rows.dropped)}
    made |= {f"rows/{name}": count for name, count in sorted(_sizes(kept).items())}
    made |= {f"prompts/{name}": count for name, count in sorted(_sizes(chosen).items())}
    made["dropped/not in the mix"] = len(rows.items) - len(kept)
    for what, found in (("dropped", rows.dropped), ("dropped-prompts", sifted.dropped)):
        for (reason, source), count in sorted(Counter((each.reason, each.item.source) for each in found).items()):
            made[f"{what}/{reason}/{source}"] = count
    return {name: float(count) for name, count in made.items()}


def told(*dropped: Sequence[Dropped]) -> list[str]:
    """Return one sentence for rows and one for prompts, of what was dropped and why."""
    texts = []
    for what, found in zip(("rows", "prompts"), dropped, strict=True):
        counts = Counter(each.reason for each in found)
        if counts:
            said = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
            texts.append(f"{sum(counts.values())} {what} dropped: {said}")
    return texts


def _sizes(items: Sequence[Item]) -> Counter[str]:
    return Counter(item.source for item in items)
