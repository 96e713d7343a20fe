"""Duplicates: exact ones by the text, near ones by the Jaccard similarity of n-grams.

The near ones are found exactly, not by hashing: in an order of all n-grams, rarest first, two texts of similarity ``t``
share an n-gram among the first ``|x| - ceil(t |x|) + 1`` of each (prefix filtering, Bayardo et al. 2007).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

from collegium_data.curate_config import NearConfig
from collegium_data.ngrams import Gram, grams, units


def exact_duplicates(texts: Iterable[Hashable]) -> dict[int, int]:
    """Return the index of each text that was there before, with the index of the first one."""
    first: dict[Hashable, int] = {}
    return {index: first[text] for index, text in enumerate(texts) if first.setdefault(text, index) != index}


def near_duplicates(texts: Sequence[str], config: NearConfig) -> dict[int, int]:
    """Return the index of each text that is too much like an earlier one that stays, with that one's index."""
    sets = [set(grams(units(text, config.unit), config.n)) for text in texts]
    seen_in = Counter(gram for each in sets for gram in each)
    kept: defaultdict[Gram, list[int]] = defaultdict(list)
    found: dict[int, int] = {}
    for index, own in enumerate(sets):
        prefix = _prefix(own, seen_in, config.threshold)
        candidates = sorted({other for gram in prefix for other in kept.get(gram, ())})
        like = next((other for other in candidates if jaccard(own, sets[other]) >= config.threshold), None)
        if like is not None:
            found[index] = like
            continue
        for gram in prefix:
            kept[gram].append(index)
    return found


def jaccard(one: set[Gram], other: set[Gram]) -> float:
    """Return the similarity of two sets; that of two empty ones is 0, as nothing is known of them."""
    common = len(one & other)
    return common / (len(one) + len(other) - common) if common else 0.0


def _prefix(own: set[Gram], seen_in: Mapping[Gram, int], threshold: float) -> list[Gram]:
    ordered = sorted(own, key=lambda gram: (seen_in[gram], gram))
    needed = math.ceil(threshold * len(own) - 1e-9)  # 0.7 of 10 is 7, whatever the floats say
    return ordered[: len(own) - needed + 1]
