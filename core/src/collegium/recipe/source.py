"""Recipe text: parse YAML strictly and remember where each key stands."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from collegium.errors import Location, RecipeError

MOST_KEYS = 100_000
"""Keys and items of a recipe, aliases written out."""
KeyPath = tuple[str, ...]


@dataclass(slots=True)
class SourceMap:
    """Key path to the place that set it; later files and the command line replace earlier ones."""

    places: dict[KeyPath, Location] = field(default_factory=dict)

    def locate(self, path: Sequence[str | int]) -> Location | None:
        """Return the place of a key, or of its nearest ancestor that has one."""
        keys = tuple(str(part) for part in path)
        while keys:
            if keys in self.places:
                return self.places[keys]
            keys = keys[:-1]
        return None

    def update(self, other: SourceMap) -> None:
        """Let another map's places win."""
        self.places.update(other.places)

    def moved(self, old: KeyPath, new: KeyPath) -> SourceMap:
        """Return the places under `old`, rebased to `new` (a profile's patch lands at the top)."""
        size = len(old)
        return SourceMap({new + path[size:]: place for path, place in self.places.items() if path[:size] == old})


def read_yaml(path: Path) -> tuple[dict[str, Any], SourceMap]:
    """Read one YAML file.

    Raises:
        RecipeError: If the file is missing, is not YAML, is not a mapping, or holds a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(f"no recipe at {str(path)!r}", fix="check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read recipe {str(path)!r}: {error}") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = Location(str(path), mark.line + 1 if mark else None)
        raise RecipeError(f"not valid YAML: {getattr(error, 'problem', None) or error}", where=where) from error
    except RecursionError:
        raise RecipeError(
            "cannot be read as a recipe: nested too deep", fix="nest less", where=Location(str(path))
        ) from None
    if re.search(r"\$\{\s*oc\.env", text):
        line = text[: text.index("oc.env")].count("\n") + 1
        raise RecipeError(
            "oc.env would write a variable's value into the run's files",
            fix="give the value on the command line, or use a component option that names the variable",
            where=Location(str(path), line),
        )
    if not isinstance(data, dict):
        raise RecipeError(f"a recipe must be a mapping, found {type(data).__name__}", where=Location(str(path), 1))
    places = dict(itertools.islice(_places(root, str(path), ()), MOST_KEYS + 1))
    if len(places) > MOST_KEYS:
        raise RecipeError(f"more than {MOST_KEYS:,} keys, aliases written out", where=Location(str(path)))
    return data, SourceMap(places)


def _places(node: yaml.Node | None, file: str, path: KeyPath) -> Iterator[tuple[KeyPath, Location]]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            where = Location(file, key.start_mark.line + 1)
            if key.value in seen:
                raise RecipeError(f"key {key.value!r} stands twice", where=where, fix="remove one")
            seen.add(key.value)
            yield (*path, key.value), where
            yield from _places(value, file, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*path, str(index)), Location(file, item.start_mark.line + 1)
            yield from _places(item, file, (*path, str(index)))
