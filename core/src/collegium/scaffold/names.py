"""A new package's names, and which are refused."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass
from typing import Any

from collegium import builtin
from collegium.component import Kind
from collegium.errors import ConfigError
from collegium.plugins.discovery import CORE, PLURALS

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST_NAME = 32
"""Characters of a name: longer ones would break the lines of the files that are written."""
RULE = "lower case words of letters and digits, joined by single dashes, such as acme-units"


@dataclass(frozen=True, slots=True)
class Names:
    """What a new package is called: its `distribution`, which is also the component's short name, and what follows."""

    distribution: str

    @property
    def module(self) -> str:
        """Import name of the package."""
        return self.distribution.replace("-", "_")

    @property
    def camel(self) -> str:
        """First part of the names of its classes."""
        return "".join(word.capitalize() for word in self.distribution.split("-"))


def check_name(name: str, component_kind: Kind) -> Names:
    """Return the names that follow from `name`.

    Raises:
        ConfigError: If the name is no distribution, module and component name at once, or is already taken.
    """
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise ConfigError(
            f"{name!r} cannot name a package; expected at most {LONGEST_NAME} characters: {RULE}",
            fix=_suggest(name),
        )
    names = Names(name)
    if reason := _taken(names, component_kind):
        raise ConfigError(f"{name!r} cannot name a package: {reason}", fix=f"choose another, such as acme-{name}")
    return names


def _suggest(name: str) -> str:
    near = "-".join(re.findall(r"[a-z0-9]+", name.lower())).lstrip("0123456789-")[:LONGEST_NAME].rstrip("-")
    return f"try {near}" if near else "choose a name such as acme-units"


def _taken(names: Names, kind: Kind) -> str:
    """Say why a well-formed name is refused, or return nothing."""
    if keyword.iskeyword(names.module) or names.module in sys.stdlib_module_names:
        return f"{names.module} is a word or a module of Python itself"
    if names.distribution == CORE:
        return "it is the core's"
    if names.distribution in _core_components(kind):
        return f"the core owns the {kind} {names.distribution!r}, and a package may not offer it again"
    spec = importlib.util.find_spec(names.module)
    if spec is not None and spec.origin is not None:
        return f"the module {names.module} is already installed ({spec.origin})"
    return ""


def _core_components(kind: Kind) -> set[str]:
    hooks: list[Any] = [getattr(builtin, hook, None) for hook, of in PLURALS.items() if of == kind]
    return {component.name for hook in hooks if hook is not None for component in hook()}
