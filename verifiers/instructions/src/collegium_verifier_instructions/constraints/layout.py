"""Detectable format: bullets, highlights, sections, a title, JSON, fixed answers."""

from __future__ import annotations

import json
import re

from collegium_verifier_instructions.registry import constraint

_STAR_BULLET = re.compile(r"^[^\S\n]*+\*[^*].*$", re.MULTILINE)
_DASH_BULLET = re.compile(r"^[^\S\n]*+-.*$", re.MULTILINE)
_HIGHLIGHT = re.compile(r"\*[^\n*]*\*")
_BOLD = re.compile(r"\*\*[^\n*]*\*\*")
_FIXED_ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


@constraint("detectable_format:number_bullet_lists")
def number_bullet_lists(text: str, num_bullets: int) -> bool:
    """Exactly so many lines begin with a bullet, ``*`` or ``-``."""
    return len(_STAR_BULLET.findall(text)) + len(_DASH_BULLET.findall(text)) == num_bullets


@constraint("detectable_format:number_highlighted_sections")
def number_highlighted_sections(text: str, num_highlights: int) -> bool:
    """At least so many passages between asterisks, single or double, that are not blank."""
    found = _HIGHLIGHT.findall(text) + _BOLD.findall(text)
    return sum(bool(passage.strip("*").strip()) for passage in found) >= num_highlights


@constraint("detectable_format:multiple_sections")
def multiple_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    """At least so many sections, each headed by the splitter and a number."""
    return len(re.findall(rf"{re.escape(section_spliter)}\s?\d+", text)) >= num_sections


@constraint("detectable_format:title")
def title(text: str) -> bool:
    """A title in double angle brackets on one line, not blank."""
    return any(_title_of(line) for line in text.split("\n"))


def _title_of(line: str) -> str:
    start, end = line.find("<<"), line.rfind(">>")
    return line[start : end + 2].lstrip("<").rstrip(">").strip() if 0 <= start <= end - 3 else ""


@constraint("detectable_format:json_format")
def json_format(text: str) -> bool:
    """The whole response is JSON, bare or in a code fence."""
    bare = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        bare = bare.removeprefix(fence)
    try:
        json.loads(bare.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


@constraint("detectable_format:constrained_response")
def constrained_response(text: str) -> bool:
    """One of the fixed answers occurs."""
    return any(answer in text for answer in _FIXED_ANSWERS)
