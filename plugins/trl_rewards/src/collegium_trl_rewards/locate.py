"""Where the code of a module lies, found without importing it or a parent of it."""

from __future__ import annotations

import importlib
import sys
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from collegium import ConfigError


def code_files(module: str) -> list[Path]:
    """Return the files that a module's code may come from: its own if it stands alone, else its whole package.

    A function calls its neighbours, so the package counts; what the package imports from elsewhere does not.

    Raises:
        ConfigError: If there is no such module on `sys.path`, or it is compiled into the interpreter.
    """
    chain = _specs(module)
    package = next((spec for spec in chain if spec.origin and spec.submodule_search_locations), None)
    if package is None:
        return [Path(chain[-1].origin or "")]
    folders = [Path(place) for place in package.submodule_search_locations or ()]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sorted(path for path in files if "__pycache__" not in path.parts)


def distribution_of(module: str) -> str:
    """Return the distribution that installed a module's top-level name, or the module's name if none did."""
    top = module.partition(".")[0]
    owners = metadata.packages_distributions().get(top, [])
    return owners[0] if len(set(owners)) == 1 else module


def _specs(module: str) -> list[ModuleSpec]:
    """Return the specs of a dotted name's parts, outermost first; `find_spec` would import the parents."""
    importlib.invalidate_caches()
    chain: list[ModuleSpec] = []
    places: list[str] | None = sys.path
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:count]), places) if places is not None else None
        if spec is None:
            raise _missing(module, ".".join(parts[:count]))
        chain.append(spec)
        found = spec.submodule_search_locations
        places = None if found is None else list(found)
    if chain[-1].origin is None:
        raise _missing(module, module)
    return chain


def _missing(module: str, part: str) -> ConfigError:
    return ConfigError(
        f"the reward function's module {module!r} is not there: no Python file or package {part!r} on the path",
        fix="install the package that has it, or put its folder on PYTHONPATH",
        owner=module.partition(".")[0],
    )
