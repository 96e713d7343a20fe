"""The `format` verifier: tags, a pattern, JSON, and a proper end."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import regex  # type: ignore[import-untyped]  # it ships none
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from collegium import Completion, Config, Error, Score, Task, Verdict, Verifier
from collegium_verifier_format.schema import LONGEST_VALIDATED, forbidden_keyword, parse_json, validator_of

LONGEST_TEXT = 200_000
"""Characters of a completion; a longer one has no form."""
PATTERN_S = 1.0
"""Seconds that matching the pattern may take."""


def _compiles(pattern: str) -> str:
    try:
        regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"pattern is not a regular expression: {error}") from None
    return pattern


class FormatConfig(Config):
    """Options of the `format` verifier."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tags": ["think", "answer"]}]})

    must_stop: bool = False
    """The model must have ended the completion itself."""
    tags: tuple[Annotated[str, Field(pattern=r"^[A-Za-z][\w.-]*$")], ...] = ()
    """Names of tags: each must stand once, in this order, not blank, with nothing but white space around them."""
    answer_follows: bool = False
    """What follows the last tag must be some text, without any of the tags: ``<think>...</think>answer``."""
    pattern: Annotated[str, AfterValidator(_compiles)] | None = None
    """Regular expression that the whole completion must match; ``(?s)`` lets a dot span lines."""
    is_json: bool = False
    """The completion, or the last tag's content, must be JSON."""
    json_schema: dict[str, Any] | None = None
    """JSON Schema by which that JSON must be valid; implies `is_json`."""
    score: Literal["all", "fraction"] = "all"
    """``all`` scores 1 if every check holds, else 0; ``fraction`` scores the share that holds."""

    @model_validator(mode="after")
    def _makes_sense(self) -> FormatConfig:
        if not (
            self.must_stop or self.tags or self.pattern is not None or self.is_json or self.json_schema is not None
        ):
            raise ValueError("format checks nothing: give must_stop, tags, pattern, is_json or json_schema")
        if len(set(self.tags)) != len(self.tags):
            raise ValueError(f"tags must differ, got {list(self.tags)}")
        if self.answer_follows and not self.tags:
            raise ValueError("answer_follows needs tags")
        if self.answer_follows and (self.is_json or self.json_schema is not None):
            raise ValueError("answer_follows and JSON cannot be asked for together: JSON is what the last tag holds")
        if found := forbidden_keyword(self.json_schema):
            raise ValueError(f"json_schema may hold no pattern and no outside reference, found {found!r}")
        return self


class FormatVerifier(Verifier):
    """Judge a completion's form. `details["checks"]` says which checks held.

    A pattern that takes over a second on a completion is an `Error`: the pattern, not the completion, is at fault.
    """

    Config = FormatConfig
    form_only = True

    def __init__(self, config: FormatConfig | Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self._pattern = None if self.config.pattern is None else regex.compile(self.config.pattern)
        schema = self.config.json_schema
        self._is_valid: Callable[[Any], bool] | None = None if schema is None else validator_of(schema)

    def verify(self, completion: Completion, task: Task) -> Verdict:
        """Judge one completion."""
        text = completion.text
        if len(text) > LONGEST_TEXT:
            return Score(0.0, {"why": f"the completion has more than {LONGEST_TEXT} characters"})
        checks = {"stop": completion.finish_reason == "stop"} if self.config.must_stop else {}
        contents = {tag: tag_content(text, tag) for tag in self.config.tags}
        checks |= {f"tag {tag}": has_text(content) for tag, content in contents.items()}
        if self.config.tags:
            checks["layout"] = _in_layout(text, self.config.tags, answer_follows=self.config.answer_follows)
        if self._pattern is not None:
            try:
                checks["pattern"] = self._pattern.fullmatch(text, timeout=PATTERN_S, concurrent=True) is not None
            except TimeoutError:
                return Error(
                    f"pattern {self.config.pattern!r} takes more than {PATTERN_S:g} s on a completion: rewrite it"
                )
        if self.config.is_json or self._is_valid is not None:
            checks |= self._json_checks(contents[self.config.tags[-1]] if self.config.tags else text)
        held = list(checks.values())
        value = float(all(held)) if self.config.score == "all" else sum(held) / len(held)
        return Score(value, {"checks": checks})

    def _json_checks(self, text: str | None) -> dict[str, bool]:
        parsed, value = (False, None) if text is None else parse_json(text)
        checks = {"json": parsed}
        if self._is_valid is not None:
            checks["schema"] = parsed and len(text or "") <= LONGEST_VALIDATED and self._is_valid(value)
        return checks


def tag_content(text: str, tag: str) -> str | None:
    """Return what stands in a tag, without white space around; None unless the tag opens and closes exactly once."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    if text.count(opening) != 1 or text.count(closing) != 1:
        return None
    start, end = text.find(opening) + len(opening), text.find(closing)
    return text[start:end].strip() if start <= end else None


def has_text(content: str | None) -> bool:
    """Say whether anything can be seen: white space, control and zero-width characters cannot."""
    return any(unicodedata.category(character)[0] not in "CZ" for character in content or "")


def _in_layout(text: str, tags: tuple[str, ...], *, answer_follows: bool) -> bool:
    """Say whether the text is these tags in this order, with nothing but white space before, between and after.

    With `answer_follows` there must be more after the last of them.
    """
    rest = text.strip()
    for tag in tags:
        if not rest.startswith(f"<{tag}>"):
            return False
        _, closed, rest = rest.partition(f"</{tag}>")
        if not closed:
            return False
        rest = rest.lstrip()
    return has_text(rest) if answer_follows else not rest
