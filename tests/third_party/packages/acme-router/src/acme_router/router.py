"""The router `by-unit`: the base unit after the prompt's ``>`` names the teacher."""

from __future__ import annotations

from pydantic import Field

from collegium import Config, Route, Router, Sample


class ByUnitConfig(Config):
    """Options of the router `by-unit`."""

    teachers: dict[str, str] = Field(default={"mol": "amount", "L": "volume"}, min_length=1)
    """The teacher of each base unit."""


class ByUnitRouter(Router):
    """Look up the unit that the prompt asks for. There is no default teacher."""

    Config = ByUnitConfig

    def route(self, sample: Sample) -> Route:
        """Return the teacher of the prompt's unit.

        Raises:
            LookupError: If no teacher is listed for it.
        """
        wanted = sample.task.prompt_text.partition(">")[2].rstrip("=")
        for unit, teacher in self.config.teachers.items():
            if wanted.endswith(unit):
                return str(teacher)
        raise LookupError(f"no teacher for the unit {wanted!r}; there is one for {', '.join(self.config.teachers)}")
