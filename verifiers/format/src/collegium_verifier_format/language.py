"""The `language` verifier: the share of letters that belong to the scripts asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import regex  # type: ignore[import-untyped]  # it ships none
from pydantic import AfterValidator, ConfigDict, Field

from collegium import Abstain, Completion, Config, Score, Task, Verdict, Verifier
from collegium_verifier_format.layout import LONGEST_TEXT, has_text, tag_content

_LETTER = regex.compile(r"\p{L}")
_SYMBOLS = ("Greek", "Hebrew")
"""Scripts whose letters mathematics borrows, one at a time."""


def _is_script(name: str) -> str:
    if not name.replace("_", "").isalpha():
        raise ValueError(f"{name!r} is no script; such as Latin, Cyrillic, Han, Hiragana, Arabic")
    try:
        regex.compile(rf"\p{{Script={name}}}")
    except regex.error:
        raise ValueError(f"Unicode has no script {name!r}; such as Latin, Cyrillic, Han, Hiragana, Arabic") from None
    return name


class LanguageConfig(Config):
    """Options of the `language` verifier."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"scripts": ["Latin"]}]})

    scripts: tuple[Annotated[str, AfterValidator(_is_script)], ...] = Field(min_length=1)
    """Unicode scripts that count: ``[Latin]``; Japanese is ``[Han, Hiragana, Katakana]``.

    A Greek or Hebrew letter beside no other of its script is a symbol, and left out, unless its script is named.
    """
    min_share: float = Field(default=0.95, gt=0, le=1)
    """Share of the letters that must be of these scripts."""
    score: Literal["all", "share"] = "all"
    """``all`` scores 1 from `min_share` on, else 0; ``share`` scores the share itself."""
    tag: str | None = Field(default=None, pattern=r"^[A-Za-z][\w.-]*$")
    """Look only inside this tag, which must stand exactly once."""


class LanguageVerifier(Verifier):
    """Judge whether a completion keeps to one writing system.

    DeepSeek-R1's language-consistency reward is the share of words in the target language (arXiv 2501.12948, section
    2.3.2); this one counts letters by script, which needs no model of the languages and tells none of one script apart.
    """

    Config = LanguageConfig
    form_only = True

    def __init__(self, config: LanguageConfig | Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        scripts = "".join(rf"\p{{Script={name}}}" for name in self.config.scripts)
        symbols = "|".join(
            rf"(?<!\p{{Script={name}}})(?=\p{{L}})\p{{Script={name}}}(?!\p{{Script={name}}})" for name in _SYMBOLS
        )
        self._symbol = regex.compile(rf"(?V1)(?![{scripts}])(?:{symbols})")
        self._wanted = regex.compile(rf"(?V1)[[{scripts}]&&\p{{L}}]")

    def verify(self, completion: Completion, task: Task) -> Verdict:
        """Judge one completion; `Abstain` where there is text and not one letter in it."""
        text = completion.text
        if len(text) > LONGEST_TEXT:
            return Score(0.0, {"why": f"the completion has more than {LONGEST_TEXT} characters"})
        if self.config.tag is not None:
            inside = tag_content(text, self.config.tag)
            if inside is None:
                return Score(0.0, {"why": f"<{self.config.tag}> does not stand exactly once"})
            text = inside
        if not has_text(text):
            return Score(0.0, {"why": "there is no text"})
        letters = len(_LETTER.findall(text)) - len(self._symbol.findall(text))
        if not letters:
            return Abstain("the text has no letters")
        share = len(self._wanted.findall(text)) / letters
        value = share if self.config.score == "share" else float(share >= self.config.min_share)
        return Score(value, {"share": round(share, 4), "letters": letters})
