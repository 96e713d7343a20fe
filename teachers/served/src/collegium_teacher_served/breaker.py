"""A circuit breaker: a failing server is left alone for a while, tried by one request, and given up in the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from collegium_teacher_served.config import BreakerConfig
from collegium_teacher_served.failures import Failure, Repeatable

T = TypeVar("T")


class Breaker:
    """Counts the failures in a row of all requests to a server; used within one event loop."""

    def __init__(self, config: BreakerConfig) -> None:
        self._config = config
        self._in_a_row = 0
        self._cool_downs = 0
        self._open_until: float | None = None
        self._gate = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Whether nothing is asked at the moment."""
        return self._open_until is not None

    async def call(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Run an attempt, at once or when the cool-down is over; then one request at a time tries.

        Raises:
            Repeatable: What the attempt raised.
            Failure: What the attempt raised, or that the server stays down.
        """
        while self.is_open:
            async with self._gate:
                if self._open_until is None:
                    break
                await asyncio.sleep(max(0.0, self._open_until - time.monotonic()))
                return await self._count(attempt, probing=True)
        return await self._count(attempt, probing=False)

    async def _count(self, attempt: Callable[[], Awaitable[T]], *, probing: bool) -> T:
        try:
            result = await attempt()
        except Repeatable as failure:
            if not failure.busy:
                self._failed(failure, probing=probing)
            raise
        self._in_a_row, self._cool_downs, self._open_until = 0, 0, None
        return result

    def _failed(self, failure: Repeatable, *, probing: bool) -> None:
        self._in_a_row += 1
        if probing and self._cool_downs >= self._config.cool_downs:
            raise Failure(
                f"it stays down: {self._in_a_row} failed tries in a row, the last after {self._cool_downs} cool-downs "
                f"of {self._config.cool_down_s:g} s; {failure}",
                fix="see the server's log, then resume the run; give a slow start more breaker.cool_downs",
            ) from None
        if probing or (not self.is_open and self._in_a_row >= self._config.failures):
            self._cool_downs += 1
            self._open_until = time.monotonic() + max(self._config.cool_down_s, failure.wait_s)
