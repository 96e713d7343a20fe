"""The component under test: found by name like any other, built from its options, tried on its package's cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from collegium.cards.read import card_entry, read_card
from collegium.component import Config, Configurable, Kind
from collegium.errors import ConfigError, PluginLoadError
from collegium.plugins.registry import Entry, Registry
from collegium.testing.conformance.cases import Case, Cases, read_cases
from collegium.testing.conformance.outcome import CheckFailed
from collegium.testing.conformance.trace import Trace, trace_component


class CannotBuild(CheckFailed):
    """The component cannot be built, so there is nothing to try."""


class Subject:
    """A component with its options and cases. What is costly is made once and shared by the checks.

    Args:
        kind: Its kind.
        name: ``distribution/name``, or the short name.
        options: Its options. Default: none if its `Config` allows that, else the example of its card or its schema.
        cases: Labelled cases, or their file; those of other components are left out.
    """

    def __init__(
        self, kind: Kind, name: str, options: Mapping[str, Any] | None = None, cases: Cases | None = None
    ) -> None:
        self.kind = kind
        self.name = name
        self._options = options
        self._cases = () if cases is None else cases

    @cached_property
    def entry(self) -> Entry:
        """The component as registered."""
        return Registry.discover().find(self.kind, self.name)

    @cached_property
    def config_class(self) -> type[Config]:
        """Its `Config`."""
        return self.entry.config_class()

    @cached_property
    def options(self) -> dict[str, Any]:
        """The options that it is built with."""
        if self._options is not None:
            return dict(self._options)
        try:
            return example_options(self.config_class, self.name, self._card_example())
        except ConfigError as error:
            raise CannotBuild(" ".join(str(error).split())) from error

    def _card_example(self) -> dict[str, Any] | None:
        """Return the example of its card, if it has one; a malformed card is the business of its own check."""
        try:
            card = read_card(self.entry.record.module, self.entry.record.distribution)
        except PluginLoadError:
            return None
        said = card_entry(card, self.kind, self.entry.component.name)
        return said.example if said else None

    @property
    def has_options(self) -> bool:
        """Whether options to build it with are given, or found."""
        try:
            return self.options is not None
        except CannotBuild:
            return False

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """Its cases, without those that may hang."""
        return tuple(case for case in self.all_cases if not case.hangs)

    @cached_property
    def all_cases(self) -> tuple[Case, ...]:
        """Its cases."""
        short = self.name.rpartition("/")[2]
        return tuple(case for case in read_cases(self._cases) if case.component in (None, short))

    def build(self) -> Any:
        """Return a new instance; whoever asks closes it.

        Raises:
            CannotBuild: If its constructor or its options fail.
        """
        options = self.options
        try:
            return self.component_class(self.config_class.model_validate(options))
        except Exception as error:
            raise CannotBuild(f"with options {options}: {type(error).__name__}: {error}") from error

    @cached_property
    def component_class(self) -> type[Configurable]:
        """Its class."""
        return self.entry.load()

    @cached_property
    def shared(self) -> Any:
        """An instance that the checks share."""
        return self.build()

    @cached_property
    def trace(self) -> Trace:
        """What it did in a fresh process."""
        return trace_component(self.kind, self.entry, self.options if self.has_options else {}, self.cases)

    def close(self) -> None:
        """Release the shared instance."""
        if "shared" in self.__dict__:
            close(self.__dict__.pop("shared"))


def close(instance: Any) -> None:
    """Call an instance's `close`, if its kind has one."""
    getattr(instance, "close", lambda: None)()


def example_options(config: type[Config], name: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return options that are valid: none, else those given, else the schema's first example or those of its fields.

    Raises:
        ConfigError: If there is no example.
    """
    schema = config.model_json_schema()
    required: Sequence[str] = schema.get("required", ())
    fields = {name: schema["properties"][name].get("examples", [None])[0] for name in required}
    for options in ({}, given, *schema.get("examples", ()), fields):
        try:
            config.model_validate(options)
        except ValidationError:
            continue
        return dict(options or {})
    raise ConfigError(
        f"{name} cannot be built without options, and its Config gives no valid example",
        fix="give its entry in card.yaml an example, or pass the options",
    )
