"""The routers `by-domain`, `by-field` and `by-task-field`: no default route; the core checks the names."""

from __future__ import annotations

from pydantic import Field

from collegium import Config as BaseConfig
from collegium import Router, Sample


class NoRoute(LookupError):
    """The router has no teacher for a sample."""


class ByDomain(Router):
    """Route a sample to the teacher named like its domain."""

    def route(self, sample: Sample) -> str:
        """Return the sample's domain.

        Raises:
            NoRoute: If the task has no domain.
        """
        if not sample.domain:
            raise NoRoute(f"task {sample.task.id!r} has no domain; by-domain needs one")
        return sample.domain


class ByField(Router):
    """Route a sample by what its task says of itself: its mode, its domain, a field of its data, or several together.

    DeepSeek-V4 routes by task context; Kimi K3 has a teacher for each of three domains at each of three efforts.
    """

    class Config(BaseConfig):
        """Options of the router `by-field`."""

        field: str | list[str] = Field(min_length=1, examples=["mode"])
        """``mode``, ``domain``, or a key of the task's data; of a list, the values are joined by ``-``."""
        routes: dict[str, str] = {}
        """Value to the teacher's name. Default: the value is the name."""

    def route(self, sample: Sample) -> str:
        """Return the teacher that the field's value stands for.

        Raises:
            NoRoute: If the task does not have the field, or `routes` does not name its value.
        """
        fields = [self.config.field] if isinstance(self.config.field, str) else self.config.field
        value = "-".join(self._value(sample, field) for field in fields)
        routes: dict[str, str] = self.config.routes
        if routes and value not in routes:
            raise NoRoute(f"task {sample.task.id!r}: by-field has no route for {value!r}, only {', '.join(routes)}")
        return routes.get(value, value)

    def _value(self, sample: Sample, field: str) -> str:
        own = {"mode": sample.task.mode, "domain": sample.domain}
        value = own.get(field, sample.task.data.get(field))
        if not isinstance(value, str) or not value:
            raise NoRoute(f"task {sample.task.id!r} of {sample.domain!r} has no text in {field!r}, found {value!r}")
        return value


class ByTaskField(Router):
    """Route a sample to the teacher that its task's data names."""

    class Config(BaseConfig):
        """Options of the router `by-task-field`."""

        field: str = Field(min_length=1, examples=["teacher"])
        """Key of the task's data that holds the teacher's name."""

    def route(self, sample: Sample) -> str:
        """Return the name in the task's data.

        Raises:
            NoRoute: If the field is missing or holds no name.
        """
        field, data = self.config.field, sample.task.data
        name = data.get(field)
        if not isinstance(name, str) or not name:
            found = f"{field!r} = {name!r}" if field in data else f"only {', '.join(map(repr, data)) or 'nothing'}"
            raise NoRoute(
                f"task {sample.task.id!r} of {sample.domain!r}: its data must name a teacher in {field!r}, has {found}"
            )
        return name
