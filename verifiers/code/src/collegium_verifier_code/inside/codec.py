"""Plain data as JSON and back: what may cross between the submission and the grader, and nothing else.

Both sides may lie only about values: whatever comes out of `unpack` is built here from exact built-in types, so that
its ``==`` is Python's own. A list is a JSON array, a scalar is itself, everything else a one-key object that names
its type.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

MAX_DEPTH = 100
MAX_NODES = 300_000
SAFE_INT = 1 << 62
TYPES = {
    kind.__name__: kind
    for kind in (bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict, type(None))
}
"""Types that may cross as values."""


class NotPlain(Exception):
    """A value that is not plain data, or is too large or too deep to be sent."""


class Malformed(Exception):
    """What arrived is not something that `pack` makes."""


class Packer:
    """Turn one value into JSON-ready data.

    Args:
        other: Packs what is not plain data; raises `NotPlain` to refuse.
    """

    def __init__(self, other: Callable[[Any], Any]) -> None:
        self.other = other
        self.nodes = 0

    def pack(self, value: Any, depth: int = 0) -> Any:
        """Pack a value. Subclasses of the built-in types go as what they hold."""
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise NotPlain("a value nested too deep" if depth > MAX_DEPTH else "a value with too many parts")
        if value is None or isinstance(value, bool | str | float):
            return _scalar(value)
        if isinstance(value, int):
            return int(value) if -SAFE_INT < value < SAFE_INT else {"int": hex(int(value))}
        if isinstance(value, list):
            return self._items(list.__iter__(value), depth)
        if isinstance(value, dict):
            return {"dict": [self._items(pair, depth) for pair in dict.items(value)]}
        return self._rarer(value, depth)

    def _rarer(self, value: Any, depth: int) -> Any:
        for kind in (tuple, set, frozenset, deque):
            if isinstance(value, kind):
                items = kind.__iter__(value)  # type: ignore[arg-type] # the base class's, whatever the subclass does
                return {kind.__name__: self._items(items, depth)}
        if isinstance(value, bytes | bytearray):
            return {"bytearray" if isinstance(value, bytearray) else "bytes": bytes(value).hex()}
        if isinstance(value, complex):
            return {"complex": [value.real, value.imag]}
        if isinstance(value, range):
            return {"range": [value.start, value.stop, value.step]}
        if isinstance(value, type) and value in TYPES.values():
            return {"type": value.__name__}
        if isinstance(value, Iterator):
            return {"iterator": self._items(itertools.islice(value, MAX_NODES + 1), depth)}
        if isinstance(value, type({}.keys()) | type({}.values()) | type({}.items())):
            return {"iterator": self._items(value, depth)}
        return self.other(value)

    def _items(self, values: Any, depth: int) -> list[Any]:
        return [self.pack(value, depth + 1) for value in values]


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return str.__str__(value)
    return float.__float__(value) if isinstance(value, float) else value


class Unpacker:
    """Build a value from what `Packer` made, trusting nothing.

    Args:
        other: Builds what is not plain data from its one-key object; raises `Malformed` to refuse.
    """

    def __init__(self, other: Callable[[str, Any], Any]) -> None:
        self.other = other

    def unpack(self, data: Any) -> Any:
        """Unpack a value.

        Raises:
            Malformed: If it is not something that `Packer` makes.
        """
        try:
            return self._value(data, 0)
        except (TypeError, ValueError, KeyError, RecursionError, OverflowError) as error:
            raise Malformed(f"{type(error).__name__}: {error}") from error

    def _value(self, data: Any, depth: int) -> Any:
        if depth > 2 * MAX_DEPTH:
            raise Malformed("nested too deep")
        if isinstance(data, list):
            return [self._value(item, depth + 1) for item in data]
        if isinstance(data, dict):
            ((kind, content),) = data.items()
            return self._tagged(kind, content, depth + 1)
        return data

    def _tagged(self, kind: str, content: Any, depth: int) -> Any:
        if kind in PLAIN:
            return PLAIN[kind](content)
        if kind in CONTAINERS:
            return CONTAINERS[kind](self._value(item, depth) for item in _list(content))
        if kind == "dict":
            return {self._value(key, depth): self._value(value, depth) for key, value in _list(content)}
        return self.other(kind, content)


def _list(content: Any) -> list[Any]:
    if not isinstance(content, list):
        raise Malformed("a container that is not a list")
    return content


CONTAINERS: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque, "iterator": lambda items: iter(list(items)),
}  # fmt: skip
PLAIN: dict[str, Callable[[Any], Any]] = {
    "int": lambda text: int(text, 16),
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "complex": lambda parts: complex(*map(float, parts)),
    "type": TYPES.__getitem__,
    "range": lambda parts: range(*parts),
}
