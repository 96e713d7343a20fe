"""Teacher routers: which teacher scores a sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from collegium.component import Configurable
from collegium.task import Sample

Route: TypeAlias = str | Mapping[str, float]


class Router(Configurable):
    """Name the teacher of a sample. Subclass and write `route`.

    There is no default route: a name that is no teacher of the stage stops the plan (probed per domain) or the run.
    """

    def route(self, sample: Sample) -> Route:
        """Return a teacher's name, or weights over teachers' names that sum to 1.

        Raises:
            LookupError: If the router has no teacher for the sample.
        """
        raise NotImplementedError
