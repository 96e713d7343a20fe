"""What is dropped, and why: one reason after the other, each seeing only what the ones before it left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from collegium.task import Task
from collegium_data.contamination import HeldOut
from collegium_data.curate_config import CurateConfig
from collegium_data.duplicates import exact_duplicates, near_duplicates
from collegium_data.items import Item


@dataclass(frozen=True, slots=True)
class Dropped:
    """An item that does not stay.

    Args:
        item: It.
        reason: In a word, such as ``duplicate``.
        because: Of what: another item's name, a held-out task, a number.
    """

    item: Item
    reason: str
    because: str


class Sieve:
    """Drops items, and remembers which.

    Args:
        items: What there is.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = list(items)
        self.dropped: list[Dropped] = []

    def drop(self, reason: str, found: Mapping[int, str]) -> None:
        """Drop items by their index; the value says because of what."""
        self.dropped += [Dropped(self.items[index], reason, because) for index, because in sorted(found.items())]
        self.items = [item for index, item in enumerate(self.items) if index not in found]

    def drop_each(self, reason: str, because: Callable[[Item], str | None]) -> None:
        """Drop the items for which there is a because."""
        said = ((index, because(item)) for index, item in enumerate(self.items))
        self.drop(reason, {index: why for index, why in said if why is not None})

    def drop_like(self, reason: str, found: Mapping[int, int]) -> None:
        """Drop items that are like others; both by index."""
        self.drop(reason, {index: self.items[other].name for index, other in found.items()})


def sift_rows(items: Sequence[Item], heldout: Sequence[Task], config: CurateConfig) -> Sieve:
    """Drop rows by label, score and length, then duplicates, then those that hold held-out prompts."""
    sieve = Sieve(items)
    sieve.drop_each("quality", lambda item: _unwanted_quality(item, config))
    sieve.drop_each("score", lambda item: _low_score(item, config))
    sieve.drop_each("length", lambda item: _wrong_length(item, config))
    if config.duplicates != "keep":
        _drop_duplicates(sieve, config, _prompt_of if config.duplicates == "prompt" else _row_of)
    _drop_contaminated(sieve, heldout, config)
    return sieve


def sift_prompts(items: Sequence[Item], heldout: Sequence[Task], config: CurateConfig) -> Sieve:
    """Drop prompts that are there already, and those that hold held-out ones."""
    sieve = Sieve(items)
    _drop_duplicates(sieve, config, _prompt_of)
    _drop_contaminated(sieve, heldout, config)
    return sieve


def _prompt_of(item: Item) -> str:
    return item.prompt_text


def _row_of(item: Item) -> str:
    return f"{item.prompt_text}\n{item.completion_text}"


def _drop_duplicates(sieve: Sieve, config: CurateConfig, text_of: Callable[[Item], str]) -> None:
    sieve.drop_like("duplicate", exact_duplicates((text_of(item), item.images) for item in sieve.items))
    if config.near is not None:
        # What pictures show is not compared, so prompts with pictures are never near duplicates.
        texts = [index for index, item in enumerate(sieve.items) if not item.images]
        found = near_duplicates([text_of(sieve.items[index]) for index in texts], config.near)
        sieve.drop_like("near-duplicate", {texts[index]: texts[other] for index, other in found.items()})


def _drop_contaminated(sieve: Sieve, heldout: Sequence[Task], config: CurateConfig) -> None:
    if config.decontaminate is not None:
        known = HeldOut(heldout, config.decontaminate)
        sieve.drop_each("contaminated", lambda item: known.contaminates(item.prompt_text, item.images))


def _unwanted_quality(item: Item, config: CurateConfig) -> str | None:
    return item.quality if config.qualities is not None and item.quality not in config.qualities else None


def _low_score(item: Item, config: CurateConfig) -> str | None:
    score = item.more.get("score")
    if config.min_score is None or not isinstance(score, int | float) or score >= config.min_score:
        return None
    return f"{score:g}"


def _wrong_length(item: Item, config: CurateConfig) -> str | None:
    own, whole = len(item.completion_text), len(item.prompt_text) + len(item.completion_text)
    if own < config.min_characters:
        return f"{own} characters of completion"
    return f"{whole} characters" if config.max_characters is not None and whole > config.max_characters else None
