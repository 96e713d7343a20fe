"""The reward source `foreign-words`: MAI-Thinking-1's language reward ``max(1 - 0.005 n, 0)``, ``n`` foreign words.

MAI counts words that are not English. This counts words with a letter outside the given scripts, which needs no model
of languages and tells none of one script apart. Where writing has no spaces (Han, Hiragana, Katakana, Thai, Lao, Khmer)
each letter counts as a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import regex  # type: ignore[import-untyped]  # it ships none

from collegium import RewardSource, Sample, Score, Verdict
from collegium_rewards.configs import ForeignWordsConfig

UNSPACED = "".join(rf"\p{{Script={name}}}" for name in ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer"))
WORD = regex.compile(rf"(?V1)[\p{{L}}&&[{UNSPACED}]]|[\p{{L}}--[{UNSPACED}]][[\p{{L}}\p{{M}}]--[{UNSPACED}]]*")
SYMBOL = regex.compile(r"(?V1)[[\p{Script=Greek}\p{Script=Hebrew}]&&\p{L}]")
"""A word of one such letter is a mathematical symbol, foreign to no language."""


class ForeignWords(RewardSource):
    """Score ``max(1 - penalty * foreign words, 0)``."""

    Config = ForeignWordsConfig

    def __init__(self, config: ForeignWordsConfig | Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        scripts = "".join(rf"\p{{Script={name}}}" for name in self.config.scripts)
        self._foreign = regex.compile(rf"(?V1)[\p{{L}}--[{scripts}\p{{Script=Common}}\p{{Script=Inherited}}]]")

    def score(self, batch: Sequence[Sample]) -> Sequence[Verdict]:
        """Count each completion's foreign words."""
        return [self._score(sample.completion.text if sample.completion else "") for sample in batch]

    def _score(self, text: str) -> Verdict:
        words = WORD.findall(text)
        foreign = sum(bool(self._foreign.search(word)) and not SYMBOL.fullmatch(word) for word in words)
        return Score(max(1.0 - self.config.penalty * foreign, 0.0), {"foreign": foreign, "words": len(words)})
