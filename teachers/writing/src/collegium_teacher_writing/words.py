"""The words to write: frequent short words of children's stories, or the package's own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from collegium import DataError
from collegium.kinds.data_files import read_json_lines

OWNER = "collegium-teacher-writing"
FILE = "corpus_stories.jsonl.gz"

OWN_FILE = "words.txt"
"""The package's own list, for where there are no stories."""

_WORD = re.compile(r"\b[a-z]{3,5}\b")


def own_words(count: int) -> list[str]:
    """Return `count` short words of the package's own list, none of which holds another.

    Raises:
        DataError: If the own list has fewer.
    """
    listed = files(__package__).joinpath(OWN_FILE).read_text(encoding="utf-8").split()
    words = _apart(listed, count)
    if len(words) < count:
        raise DataError(
            f"the own list has {len(words)} words, expected {count}",
            fix="lower 'vocabulary', or let 'data' name the folder of the stories",
            owner=OWNER,
        )
    return words


def story_words(folder: Path, count: int) -> list[str]:
    """Return the `count` commonest words of three to five small letters in the stories, none of which holds another.

    Raises:
        DataError: If the file cannot be read, or has fewer such words.
    """
    path = folder / FILE
    seen: Counter[str] = Counter()
    for line, row in read_json_lines(path, owner=OWNER):
        if not isinstance(text := row.get("text"), str):
            raise DataError(f"{path}:{line}: expected a text field 'text', found {sorted(row)}", owner=OWNER)
        seen.update(_WORD.findall(text))
    words = _apart(sorted(seen, key=lambda word: (-seen[word], word)), count)
    if len(words) < count:
        raise DataError(
            f"{path}:{line}: found {len(words)} words of three to five letters, expected {count}",
            fix="lower 'vocabulary', or fetch the whole file",
            owner=OWNER,
        )
    return words


def _apart(candidates: Iterable[str], count: int) -> list[str]:
    """Take the first `count` candidates, leaving out any that is inside a word taken or holds one."""
    words: list[str] = []
    for word in candidates:
        if len(words) < count and not any(word in other or other in word for other in words):
            words.append(word)
    return words
