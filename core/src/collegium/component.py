"""Components: what a plugin offers, named lazily, and the strict `Config` that each one has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, model_validator

Kind = Literal[
    "loss",
    "reward",
    "verifier",
    "sampler",
    "router",
    "stage",
    "advantage",
    "weighter",
    "teacher",
    "engine",
    "task",
    "executor",
    "tracker",
    "environment",
]
"""The kinds of component. The first five are what the framework exists for."""

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Component:
    """One entry that a `register_*` hook returns.

    Args:
        name: Short name, lower case with dashes, unique within its distribution and kind.
        target: ``"module:attr"`` of the class; imported when a recipe uses it, never at discovery.
        summary: One line for `collegium plugins list`.
        config: ``"module:attr"`` of the `Config` class, where importing `target` would import something heavy;
            planning then imports only this. Default: the `Config` attribute of the target.
    """

    name: str
    target: str
    summary: str
    config: str | None = None

    def __post_init__(self) -> None:
        if not all(isinstance(value, str) for value in (self.name, self.target, self.summary)):
            raise TypeError(f"a component's name, target and summary must be text, got {self.name!r}")


def component(name: str, target: str, summary: str, *, config: str | None = None) -> Component:
    """Describe a component without importing it.

    Raises:
        ValueError: If the name is not lower-case-with-dashes, the summary is empty, or a path is not ``module:attr``.
    """
    if not name or not all(part.isalnum() for part in name.split("-")) or name != name.lower():
        raise ValueError(f"component name {name!r} must be lower case words joined by single dashes")
    if not summary.strip():
        raise ValueError(f"component {name!r} needs a one-line summary")
    for path in (target, config) if config else (target,):
        module, _, attribute = path.partition(":")
        if not module or not attribute:
            raise ValueError(f"component {name!r}: {path!r} must have the form 'module:attribute'")
    return Component(name, target, summary, config)


class Config(BaseModel):
    """Base of every component's options: frozen, and an unknown key is an error.

    Document a field by the string under it; it becomes the field's description in `collegium plugins show`.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False, validate_default=True
    )

    def content_paths(self) -> Sequence[Path]:
        """Return the local files and folders that the options name; their contents are part of the fingerprint."""
        return ()


class Use(Config):
    """A component named in a recipe: ``name``, or ``{use: name, option: value, ...}``.

    After planning, `use` is the full ``distribution/name`` id and `options` are validated by that component's `Config`.
    """

    use: str
    """Short name or ``distribution/name``."""
    options: dict[str, Any] = {}
    """The component's own options."""

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"use": value, "options": {}}
        if isinstance(value, Mapping) and "use" in value and set(value) != {"use", "options"}:
            return {"use": value["use"], "options": {key: item for key, item in value.items() if key != "use"}}
        return value


@dataclass(frozen=True, slots=True)
class OfKind:
    """Marks a `Use` field with the kind of component it names, so that the plan can resolve it."""

    kind: Kind


UseLoss = Annotated[Use, OfKind("loss")]
UseReward = Annotated[Use, OfKind("reward")]
UseVerifier = Annotated[Use, OfKind("verifier")]
UseSampler = Annotated[Use, OfKind("sampler")]
UseRouter = Annotated[Use, OfKind("router")]
UseAdvantage = Annotated[Use, OfKind("advantage")]
UseWeighter = Annotated[Use, OfKind("weighter")]
UseTeacher = Annotated[Use, OfKind("teacher")]
UseEngine = Annotated[Use, OfKind("engine")]
UseEnvironment = Annotated[Use, OfKind("environment")]


AnyConfig: TypeAlias = Config


class Configurable:
    """Base of every component class: holds its validated `Config`.

    A subclass declares ``class Config(Config): ...`` inside itself, or points `Config` at a class in a light module.
    """

    Config: ClassVar[type[AnyConfig]] = AnyConfig

    def __init__(self, config: AnyConfig | Mapping[str, Any] | None = None) -> None:
        model = type(self).Config
        self.config: Any = config if isinstance(config, model) else model.model_validate(config or {})
