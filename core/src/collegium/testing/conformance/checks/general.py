"""Checks of every kind: contract version, base class, options strict and documented."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from collegium import hookspecs
from collegium.component import Config, Configurable, Kind
from collegium.kinds.advantage import Advantage
from collegium.kinds.engine import Engine
from collegium.kinds.environment import Environment
from collegium.kinds.executor import Executor
from collegium.kinds.loss import Loss
from collegium.kinds.reward import RewardSource
from collegium.kinds.router import Router
from collegium.kinds.sampler import Sampler
from collegium.kinds.stage import Stage
from collegium.kinds.tasks import TaskSource
from collegium.kinds.teacher import Teacher
from collegium.kinds.tracker import Tracker
from collegium.kinds.verifier import Verifier
from collegium.kinds.weighter import Weighter
from collegium.testing.conformance.check import check
from collegium.testing.conformance.exercise import EXERCISED
from collegium.testing.conformance.outcome import NotApplicable, require
from collegium.testing.conformance.subject import Subject

BASES: dict[Kind, type[Configurable]] = {
    "loss": Loss,
    "reward": RewardSource,
    "verifier": Verifier,
    "sampler": Sampler,
    "router": Router,
    "stage": Stage,
    "advantage": Advantage,
    "weighter": Weighter,
    "teacher": Teacher,
    "engine": Engine,
    "task": TaskSource,
    "executor": Executor,
    "tracker": Tracker,
    "environment": Environment,
}
UNKNOWN_OPTION = "collegium_no_such_option"


@check()
def contract_version(subject: Subject) -> None:
    """The plugin speaks this core's contract."""
    record = subject.entry.record
    require(record.status == "loaded", f"{record.distribution} did not load: {record.cause}")
    require(record.api == hookspecs.API, f"it speaks contract {record.api}, this core speaks {hookspecs.API}")


@check()
def base_class(subject: Subject) -> None:
    """The class derives from its kind's base."""
    base = BASES[subject.kind]
    found = subject.component_class
    require(issubclass(found, base), f"{found.__qualname__} must subclass collegium.{base.__name__}")


@check()
def options_strict(subject: Subject) -> None:
    """An unknown option is refused, in nested options too, and options cannot be changed once set."""
    for model in models(subject.config_class):
        require(model.model_config.get("extra") == "forbid", f"{model.__qualname__} does not forbid unknown options")
        require(bool(model.model_config.get("frozen")), f"{model.__qualname__} is not frozen")
    try:
        subject.config_class.model_validate({UNKNOWN_OPTION: 1})
    except ValidationError as error:
        named = any(UNKNOWN_OPTION in fault["loc"] for fault in error.errors())
        require(named, f"the error on an unknown option does not name it: {error}")
    else:
        require(False, "an unknown option is accepted")


@check()
def options_documented(subject: Subject) -> None:
    """Every option has a string under it that says what it is."""
    missing = [
        f"{model.__qualname__}.{name}"
        for model in models(subject.config_class)
        for name, field in model.model_fields.items()
        if not (field.description or "").strip()
    ]
    require(not missing, f"options without a description: {', '.join(missing)}")


@check()
def buildable(subject: Subject) -> None:
    """It is built from its options by name, and closed."""
    if subject.kind not in (*EXERCISED, "loss") and not subject.has_options:
        raise NotApplicable("its options have no valid example")
    require(isinstance(subject.shared, BASES[subject.kind]), "the instance is not of its kind")


def models(config: type[BaseModel], seen: set[type[BaseModel]] | None = None) -> Iterator[type[BaseModel]]:
    """Yield a `Config` and those nested in it; what the core owns (such as `Use`) is not the plugin's."""
    seen = set() if seen is None else seen
    if config in seen or (config.__module__.startswith("collegium.") and seen):
        return
    seen.add(config)
    yield config
    for field in config.model_fields.values():
        for nested in _nested(field.annotation):
            yield from models(nested, seen)


def _nested(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation is not Config:
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _nested(argument)
