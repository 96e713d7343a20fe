"""Errors, each attributed to the boundary at which it arose.

Taxonomy::

    CollegiumError                  root; carries who, what, the fix, and where
    ├── RecipeError    (ValueError)    the recipe's text, its DAG, its routes
    ├── ConfigError    (ValueError)    a component's options
    ├── PluginError    (RuntimeError)  a distribution that cannot be used
    │   ├── PluginNotFound   (LookupError)  a distribution or component that is not installed
    │   ├── PluginCollision  (LookupError)  one short name, several owners
    │   └── PluginLoadError  (ImportError)  import or contract failure
    ├── VerifierError  (RuntimeError)  a verifier or reward source broke its contract
    ├── EngineError    (RuntimeError)  generation failed
    ├── TeacherError   (RuntimeError)  a teacher cannot score, or is not the right one
    ├── PolicyError    (RuntimeError)  the trained model: NaN loss, bad checkpoint
    ├── DataError      (ValueError)    task sources and files
    └── StoreError     (OSError)       artifacts and run directories

An error says who, what was found, what was expected and how to mend it. A bad rollout is data, not an error.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a recipe: the file (or ``command line``) and its 1-based line."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: `what` was found and expected, the `fix`, and the distribution that is its `owner`."""

    what: str
    fix: str = ""
    owner: str | None = None
    where: Location | None = None

    def __str__(self) -> str:
        head = f"{self.where}: " if self.where else ""
        owner = f" [{self.owner}]" if self.owner else ""
        fix = f"\n    fix: {self.fix}" if self.fix else ""
        return f"{head}{self.what}{owner}{fix}"


class CollegiumError(Exception):
    """Root of all errors the framework raises on purpose.

    Args:
        what: What was found and what was expected.
        fix: What the reader should do.
        owner: The distribution at fault, such as ``"acme-units"``.
        where: The place in the recipe.
    """

    def __init__(self, what: str, *, fix: str = "", owner: str | None = None, where: Location | None = None) -> None:
        self.problems: tuple[Problem, ...] = (Problem(what, fix, owner, where),)
        super().__init__(str(self.problems[0]))

    @classmethod
    def of(cls, problems: list[Problem] | tuple[Problem, ...]) -> CollegiumError:
        """Build one error that carries several faults, all in one message."""
        error = cls(problems[0].what)
        error.problems = tuple(problems)
        error.args = ("\n".join(str(problem) for problem in problems),)
        return error

    @property
    def owner(self) -> str | None:
        """The distribution at fault (of the first problem), or None."""
        return self.problems[0].owner


class RecipeError(CollegiumError, ValueError):
    """The recipe cannot be run as written."""


class ConfigError(CollegiumError, ValueError):
    """A component's options do not fit its `Config`."""


class PluginError(CollegiumError, RuntimeError):
    """A distribution cannot be used."""


class PluginNotFound(PluginError, LookupError):
    """No installed distribution provides what was named."""


class PluginCollision(PluginError, LookupError):
    """One short name belongs to several distributions."""


class PluginLoadError(PluginError, ImportError):
    """A distribution failed at import or broke the plugin contract."""


class VerifierError(CollegiumError, RuntimeError):
    """A verifier or reward source broke its contract, or spent its error budget."""


class EngineError(CollegiumError, RuntimeError):
    """The engine could not generate, or returned something malformed."""


class TeacherError(CollegiumError, RuntimeError):
    """A teacher cannot score the student's tokens."""


class PolicyError(CollegiumError, RuntimeError):
    """The trained model: a loss that is not finite, a checkpoint that is not one."""


class DataError(CollegiumError, ValueError):
    """A task source or data file is missing, truncated, empty or malformed."""


class StoreError(CollegiumError, OSError):
    """An artifact or run directory cannot be read or written."""

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)
