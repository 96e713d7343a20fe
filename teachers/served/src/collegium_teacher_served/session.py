"""A server while it is open: its event loop, its connections, and requests that are repeated until they succeed."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from collegium_teacher_served.breaker import Breaker
from collegium_teacher_served.config import ServedTeacherConfig
from collegium_teacher_served.endpoint import Endpoint, Refused
from collegium_teacher_served.failures import Failure, Repeatable, teacher_error

T = TypeVar("T")
LONGEST_WAIT_S = 30.0
"""Most seconds between two tries, unless the server asks for more."""
LONGEST_REPLY = 1_000_000
"""Bytes of a reply that are read, besides `BYTES_PER_TOKEN`."""
BYTES_PER_TOKEN = 1_000
"""Bytes of a reply that are read for each token of the request."""
RESUME = "see the server's log, then resume the run"


class Session:
    """The open server. Not to be used from within an event loop.

    Args:
        config: The teacher's options.
    """

    def __init__(self, config: ServedTeacherConfig) -> None:
        self._config = config
        self._runner = asyncio.Runner()
        self._endpoint: Endpoint | None = None

    def run(self, work: Callable[[Requests], Coroutine[Any, Any, T]]) -> T:
        """Do some work within the batch's time.

        Raises:
            ConfigError: If key or certificate cannot be used.
            TeacherError: If the server fails; says what came back.
        """
        try:
            return self._runner.run(self._limited(work))
        except Failure as failure:
            mask = self._endpoint.mask if self._endpoint else str
            raise teacher_error(self._config.url, self._config.model, failure, mask) from None

    async def _limited(self, work: Callable[[Requests], Coroutine[Any, Any, T]]) -> T:
        if self._endpoint is None:
            self._endpoint = Endpoint(self._config)
        requests = Requests(self._config, self._endpoint)
        try:
            async with asyncio.timeout(self._config.batch_s):
                return await work(requests)
        except TimeoutError:
            raise Failure(
                f"it did not finish within batch_s = {self._config.batch_s:g} s ({requests.told})",
                fix="give it more time (batch_s), more replicas, or smaller batches",
            ) from None

    def close(self) -> None:
        """Close the connections and the event loop."""
        endpoint, self._endpoint = self._endpoint, None
        try:
            if endpoint is not None:
                self._runner.run(endpoint.close())
        finally:
            self._runner.close()


class Requests:
    """The requests of one piece of work: few at once, repeated with growing waits, behind one circuit breaker."""

    def __init__(self, config: ServedTeacherConfig, endpoint: Endpoint) -> None:
        self._config = config
        self._endpoint = endpoint
        self._slots = asyncio.Semaphore(config.concurrency)
        self._breaker = Breaker(config.breaker)
        self._jitter = random.Random()  # its own: the waits must not move the run's random numbers
        self._deadline = time.monotonic() + config.batch_s
        self._tries = 0
        self._done = 0
        self._last: Repeatable | None = None

    @property
    def told(self) -> str:
        """What happened so far."""
        last = f"; last failure: {self._last}" if self._last else ""
        return f"{self._done} requests answered in {self._tries} tries{last}"

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        tokens: int = 0,
        absent: Collection[int] = (),
    ) -> bytes | None:
        """Return a reply's body, however often it has to be asked for.

        Args:
            method: ``GET`` or ``POST``.
            path: Below the root.
            body: Sent as JSON.
            tokens: How many the request holds; the reply may be as long as they need.
            absent: Statuses that say that the server does not offer this; the result is None then.

        Raises:
            Failure: If the server refuses, or fails to the end.
        """

        async def attempt() -> bytes:
            self._tries += 1
            return await self._endpoint.send(method, path, body, LONGEST_REPLY + tokens * BYTES_PER_TOKEN)

        for repetition in range(self._config.retries + 1):
            try:
                async with self._slots:
                    reply = await self._breaker.call(attempt)
            except Repeatable as failure:
                self._last = failure
                await self._wait(failure, repetition)
            except Refused as failure:
                if failure.status in absent:
                    return None
                raise
            else:
                self._done += 1
                return reply
        raise AssertionError("the last wait raises")

    async def _wait(self, failure: Repeatable, repetition: int) -> None:
        """Wait before the next try; or raise, if there is none."""
        if repetition == self._config.retries:
            raise Failure(f"{failure} (try {repetition + 1} of {repetition + 1})", fix=RESUME)
        longest = min(self._config.backoff_s * 2**repetition, LONGEST_WAIT_S)
        wait_s = max(self._jitter.uniform(0, longest), failure.wait_s)
        if wait_s > self._deadline - time.monotonic():
            raise Failure(f"{failure}; the next try would be in {wait_s:.0f} s, and batch_s ends before", fix=RESUME)
        await asyncio.sleep(wait_s)

    async def ask_json(self, method: str, path: str, body: Mapping[str, Any] | None = None, **more: Any) -> Any:
        """Return a reply that is JSON, or None where the server does not offer it.

        Raises:
            Failure: If it is not JSON, or see `ask`.
        """
        reply = await self.ask(method, path, body, **more)
        if reply is None:
            return None
        try:
            return json.loads(reply)
        except (ValueError, RecursionError):
            said = reply.decode("utf-8", "replace")
            raise Failure(f"its reply to {path} is not JSON", said=said, fix="see that url is the server's") from None


async def all_of(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines side by side and return their results in order; the first failure ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]
