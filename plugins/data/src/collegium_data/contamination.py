"""Held-out prompts in training prompts, by n-grams (Tulu 3, arXiv 2411.15124, section 3.2).

A unit of a held-out prompt is matched by a training prompt if it stands in an n-gram that both have. The overlap is the
share of its units that one training prompt matches. A prompt with pictures is only like one with the same pictures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from collegium.task import Task
from collegium_data.curate_config import DecontaminateConfig
from collegium_data.ngrams import Gram, grams, units


class HeldOut:
    """The held-out prompts, indexed by n-gram.

    Args:
        tasks: Held-out tasks.
        config: What counts as too much.
    """

    def __init__(self, tasks: Iterable[Task], config: DecontaminateConfig) -> None:
        self.config = config
        self._ids: list[str] = []
        self._lengths: list[int] = []
        self._images: list[tuple[bytes, ...]] = []
        self._index: defaultdict[int, defaultdict[Gram, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
        for task in tasks:
            self._add(task)

    def _add(self, task: Task) -> None:
        found = units(task.prompt_text, self.config.unit)
        if not found:
            return
        size, number = min(self.config.n, len(found)), len(self._ids)
        self._ids.append(f"{task.domain}/{task.id}" if task.domain else task.id)
        self._lengths.append(len(found))
        self._images.append(task.images)
        for start, gram in enumerate(grams(found, size)):
            self._index[size][gram].append((number, start))

    def overlaps(self, text: str, images: tuple[bytes, ...] = ()) -> dict[str, float]:
        """Return held-out task to the share of its prompt that a prompt matches, of those it matches at all."""
        found = units(text, self.config.unit)
        matched: defaultdict[int, set[int]] = defaultdict(set)
        for size, index in self._index.items():
            if size > len(found):
                continue
            for gram in dict.fromkeys(grams(found, size)):
                for number, start in index.get(gram, ()):
                    if self._images[number] == images:
                        matched[number].update(range(start, start + size))
        return {self._ids[number]: len(places) / self._lengths[number] for number, places in matched.items()}

    def contaminates(self, text: str, images: tuple[bytes, ...] = ()) -> str | None:
        """Return the held-out task of which a prompt holds too much, the first of those it holds most of; or None."""
        overlaps = self.overlaps(text, images)
        worst = max(overlaps, key=lambda name: overlaps[name], default=None)
        if worst is None:
            return None
        return worst if overlaps[worst] > self.config.share or overlaps[worst] == 1 else None
