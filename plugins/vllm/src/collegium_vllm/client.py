"""What the engine asks of a vLLM server: repeated with backoff, and answered with what was asked for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from collegium import EngineError
from collegium_vllm.errors import engine_error
from collegium_vllm.exchange import Exchange, Failed
from collegium_vllm.sampling import Answer, Request

FIRST_PAUSE_S = 0.5
"""Pause before the first repetition of a request; it doubles with each."""
HEALTH_TIMEOUT_S = 5.0
CLOSE_S = 5.0
"""Seconds that closing waits for a call in another thread."""
LONGEST_REPLY = 1_000_000
"""Bytes of a reply that are read, besides `BYTES_PER_TOKEN`."""
BYTES_PER_TOKEN = 1_000
"""Bytes of a reply that are read for each token of the prompt and of the longest completion."""
LONGEST_FIGURES = 64_000_000
"""Bytes of what the workers return: a line for each of their weights."""

Explain = Callable[[str], EngineError]
"""Makes an error of what a request met, once it has failed for good."""
T = TypeVar("T")


class Client:
    """The requests that the engine makes; threads take turns. Not to be used from within an event loop.

    Args:
        url: The server, with or without `/v1`.
        key: Its API key; sent, and never shown.
        timeout: Seconds for one try of a request, the whole reply included.
        retries: How often a request is repeated.
        concurrency: Most requests at once.
    """

    def __init__(self, url: str, key: str | None, *, timeout: float, retries: int, concurrency: int) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self.explain: Explain = lambda what: engine_error(f"the server at {self.url} {what}")
        self._key = key or ""
        self._retries = retries
        self._runner = asyncio.Runner()
        self._turn = threading.Lock()
        self._exchange = Exchange(self.url, key, timeout=timeout, concurrency=concurrency)

    def is_healthy(self) -> bool:
        """Tell whether the server says that it is ready."""
        with self._turn:
            return self._runner.run(self._is_healthy())

    async def _is_healthy(self) -> bool:
        try:
            await self._exchange.ask("GET", "/health", None, LONGEST_REPLY, HEALTH_TIMEOUT_S)
        except Failed:
            return False
        return True

    def model(self, expected: str | None = None) -> str:
        """Return the name of the model that the server serves.

        Args:
            expected: Which it must be; none, if any will do.

        Raises:
            EngineError: If there is none, or another.
        """
        said = self._run(self._ask("GET", "/v1/models"))
        try:
            name: str = said["data"][0]["id"]
        except (KeyError, IndexError, TypeError):
            raise self.explain(self._unexpected("names no model", said)) from None
        if expected is not None and name != expected:
            raise self.explain(self._unexpected(f"does not serve {expected!r}", name))
        return name

    def call_workers(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of every worker, which wants the key first, and return what each returned."""
        body = {"method": method, "args": [self._key, *arguments]}
        said = self._run(self._ask("POST", "/collective_rpc", body, LONGEST_FIGURES))
        if not isinstance(said, dict) or not isinstance(said.get("results"), list) or not said["results"]:
            raise self.explain(self._unexpected(f"answered {method} with other than one result per worker", said))
        if refused := [each["refused"] for each in said["results"] if isinstance(each, dict) and "refused" in each]:
            raise self.explain(self._unexpected("refused", refused[0]))
        return list(self._exchange.without_key(said["results"]))

    def reset_prefix_cache(self) -> None:
        """Let the server forget the states that other weights have made."""
        said = self._run(self._ask("POST", "/reset_prefix_cache"))
        if not isinstance(said, dict) or said.get("success") is not True:
            raise self.explain(self._unexpected("did not reset its prefix cache", said))

    def sleep(self) -> None:
        """Let the server give its accelerators' memory back."""
        self._run(self._ask("POST", "/sleep?level=1"))

    def wake(self) -> None:
        """Let the server take the memory again."""
        self._run(self._ask("POST", "/wake_up"))

    def complete(self, model: str, requests: Sequence[Request]) -> list[Answer]:
        """Return one answer per request, in order; the first failure ends the call."""
        return self._run(_all_of([self._complete(model, each) for each in requests]))

    def close(self) -> None:
        """Close the connections; those of a call that another thread is still in last as long as the process."""
        if not self._turn.acquire(timeout=CLOSE_S):
            return
        try:
            with contextlib.closing(self._runner):
                self._runner.run(self._exchange.close())
        finally:
            self._turn.release()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run requests; what failed is explained once, after all have ended."""
        try:
            with self._turn:
                return self._runner.run(work)
        except Failed as failed:
            raise self.explain(str(failed)) from None

    async def _complete(self, model: str, request: Request) -> Answer:
        asked = {"return_token_ids": True, "return_tokens_as_token_ids": True, **request.parameters()}
        body = {"model": model, "prompt": list(request.prompt), **asked}
        longest = LONGEST_REPLY + BYTES_PER_TOKEN * (len(request.prompt) + request.sampling.max_tokens)
        said = await self._ask("POST", "/v1/completions", body, longest)
        try:
            (choice,) = said["choices"]
            found = choice["token_ids"], choice["logprobs"]["token_logprobs"], choice["finish_reason"]
        except (KeyError, TypeError, ValueError):
            what = "answered a prompt with other than one choice with token_ids and logprobs"
            raise Failed(self._unexpected(what, said), final=True) from None
        return Answer(*self._exchange.without_key(list(found)))

    async def _ask(self, method: str, path: str, body: Any = None, longest: int = 0) -> Any:
        """Make a request and return its JSON; None for an empty answer."""
        for attempt in range(self._retries + 1):
            try:
                return await self._exchange.ask(method, path, body, longest or LONGEST_REPLY)
            except Failed as failed:
                if failed.final or attempt == self._retries:
                    raise
            await asyncio.sleep(FIRST_PAUSE_S * 2**attempt)
        raise AssertionError("the last try returns or raises")

    def _unexpected(self, what: str, said: Any) -> str:
        return f"{what}: {self._exchange.told(said)}"


async def _all_of(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines side by side and return their results in order; the first failure ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]
