"""The routers `by-domain` and `by-task-field`: no default route; the core checks that the name is a teacher's."""

from __future__ import annotations

from pydantic import Field

from collegium import Config, Router, Sample


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


class ByTaskField(Router):
    """Route a sample to the teacher that its task's data names."""

    class Config(Config):
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
