"""Find the answer in a completion: which part of the text the model commits to.

Every search is linear in the text's length, so that a hostile megabyte costs milliseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ANSWER_PHRASE = re.compile(r"\banswer\b(?:\s+\w+){0,3}?\s*(?:\bis\b|:|=)\s*:?", re.IGNORECASE)
_BETWEEN_BOXES = re.compile(
    r"(?:[\s$,;]|\\[()\[\]]|\\q?quad|\\text\{\s*(?:and|or)\s*\}|\band\b|\bor\b|[A-Za-z](?:_\{?\w{1,3}\}?)?\s*=){0,40}"
)
_SENTENCE_END = re.compile(r"\.\s+[A-Z]")
_EDGES = " \t\r\n*`"
_CLOSERS = _EDGES + "$.)]\\"


@dataclass(frozen=True, slots=True)
class Extraction:
    """An answer as found.

    Args:
        text: The answer: LaTeX or plain text.
        how: Which rule found it; `whole` is the only one without a mark in the text.
        after: What else the completion says after it; marks that only close a formula are left out.
    """

    text: str
    how: str
    after: str = ""


def extract(text: str, answer_after: str | None = None) -> Extraction | None:
    r"""Return the answer that the text marks, or None.

    With `answer_after`: what follows that mark's last occurrence, to the end of its line. Otherwise, in this order: the
    last ``\boxed{...}`` (several in a row are one answer with several values), what follows the last ``####``, what
    follows the last "answer is" or "answer:". A thinking block is never searched; one that is not closed leaves nothing
    to search.
    """
    body = without_thinking(text)
    if answer_after is not None:
        return _after(body, answer_after, "answer_after")
    return _boxed(body) or _after(body, "####", "####") or _phrase(body)


def without_thinking(text: str) -> str:
    """Return what follows the thinking block; nothing if it was opened and never closed."""
    _, closed, rest = text.rpartition("</think>")
    body = rest if closed else text
    return body if "<think>" not in body else body.partition("<think>")[0]


def _after(body: str, mark: str, how: str) -> Extraction | None:
    _, found, rest = body.rpartition(mark)
    return _line(rest, how) if found else None


def _phrase(body: str) -> Extraction | None:
    last = None
    for match in _ANSWER_PHRASE.finditer(body):
        last = match
    return _line(body[last.end() :], "answer is") if last else None


def _line(rest: str, how: str) -> Extraction | None:
    """Take the first line, or the whole display formula if one opens there."""
    rest = rest.lstrip(_EDGES)
    for opening, closing in (("$$", "$$"), ("\\[", "\\]")):
        if rest.startswith(opening):
            inside, found, after = rest[2:].partition(closing)
            return Extraction(inside.strip(_EDGES), how, after.strip(_CLOSERS)) if found else None
    sentence = _SENTENCE_END.split(rest.partition("\n")[0], maxsplit=1)[0]
    answer, after = sentence.strip(_EDGES), rest[len(sentence) :].strip()
    if answer.endswith(".") and not answer.endswith(".."):
        answer = answer[:-1].rstrip(_EDGES)
    return Extraction(answer, how, after)


def _boxed(body: str) -> Extraction | None:
    """Take the last box, joined by the boxes that stand right before it."""
    contents: list[str] = []
    start, last = len(body), 0
    while (at := body.rfind("\\boxed", 0, start)) >= 0:
        box = _box_at(body, at)
        if box is None:
            if contents:
                break
            return None  # the last box is cut off: whatever stands before it is not the final answer
        content, end = box
        if contents and not _BETWEEN_BOXES.fullmatch(body, end, start):
            break
        contents.append(content)
        start, last = at, max(last, end)
        if len(contents) == 16:
            break
    if not contents:
        return None
    joined = " and ".join(f"${content}$" for content in reversed(contents))
    return Extraction(joined, "boxed", body[last:].strip(_CLOSERS))


def _box_at(body: str, at: int) -> tuple[str, int] | None:
    """Return the content of the box at `at` and where it ends; None if its braces never close."""
    opening = at + len("\\boxed")
    while opening < len(body) and body[opening] == " ":
        opening += 1
    if opening >= len(body) or body[opening] != "{":
        return None
    depth = 0
    for index in range(opening, min(len(body), opening + 20_000)):
        escaped = body[index - 1] == "\\"
        depth += (body[index] == "{" and not escaped) - (body[index] == "}" and not escaped)
        if depth == 0:
            return body[opening + 1 : index].strip(), index + 1
    return None
