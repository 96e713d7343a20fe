"""HTTP to a vLLM server: retries with backoff, time limits, and answers that are what was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from collegium import EngineError
from collegium_vllm.errors import engine_error
from collegium_vllm.sampling import Answer, Request

FIRST_PAUSE_S = 0.5
"""Pause before the first repetition of a request; it doubles with each."""
TOO_BUSY = (429, 503)
HEALTH_TIMEOUT_S = 5.0

Explain = Callable[[str], EngineError]
"""Makes an error of what a request met, once it has failed for good."""


class Client:
    """The requests that the engine makes.

    Args:
        url: The server, without `/v1`.
        key: Its API key; sent, and never shown.
        timeout: Seconds for one request.
        retries: How often a request is repeated.
        concurrency: Most requests at once.
    """

    def __init__(self, url: str, key: str | None, *, timeout: float, retries: int, concurrency: int) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self.explain: Explain = lambda what: engine_error(f"the server at {self.url} {what}")
        self._retries = retries
        self._concurrency = concurrency
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(max_connections=concurrency + 1, max_keepalive_connections=concurrency + 1)
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout, limits=limits)

    def is_healthy(self) -> bool:
        """Tell whether the server says that it is ready."""
        try:
            return self._http.get("/health", timeout=HEALTH_TIMEOUT_S).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def model(self) -> str:
        """Return the name of the model that the server serves."""
        said = self._ask("GET", "/v1/models")
        try:
            name: str = said["data"][0]["id"]
        except (KeyError, IndexError, TypeError):
            raise self.explain(f"names no model: {str(said)[:200]}") from None
        return name

    def call_workers(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of every worker and return what each returned."""
        said = self._ask("POST", "/collective_rpc", {"method": method, "args": list(arguments)})
        if not isinstance(said, dict) or not isinstance(said.get("results"), list) or not said["results"]:
            raise self.explain(f"answered {method} with {str(said)[:200]}, expected one result per worker")
        return list(said["results"])

    def reset_prefix_cache(self) -> None:
        """Let the server forget the states that other weights have made."""
        said = self._ask("POST", "/reset_prefix_cache")
        if not isinstance(said, dict) or said.get("success") is not True:
            raise self.explain(f"did not reset its prefix cache: {str(said)[:200]}")

    def sleep(self) -> None:
        """Let the server give its accelerators' memory back."""
        self._ask("POST", "/sleep?level=1")

    def wake(self) -> None:
        """Let the server take the memory again."""
        self._ask("POST", "/wake_up")

    def complete(self, model: str, requests: Sequence[Request]) -> list[Answer]:
        """Return one answer per request, in order; the first failure ends the call."""
        with ThreadPoolExecutor(min(self._concurrency, len(requests))) as pool:
            running = [pool.submit(self._complete, model, each) for each in requests]
            try:
                return [each.result() for each in running]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _complete(self, model: str, request: Request) -> Answer:
        asked = {"return_token_ids": True, "return_tokens_as_token_ids": True, **request.parameters()}
        said = self._ask("POST", "/v1/completions", {"model": model, "prompt": list(request.prompt), **asked})
        try:
            (choice,) = said["choices"]
            return Answer(choice["token_ids"], choice["logprobs"]["token_logprobs"], choice["finish_reason"])
        except (KeyError, TypeError, ValueError):
            raise self.explain(
                f"answered a prompt with {str(said)[:200]}, expected one choice with token_ids and logprobs"
            ) from None

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Make a request and return its JSON; None for an empty answer."""
        found = ""
        for attempt in range(self._retries + 1):
            if attempt:
                time.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
            try:
                answer = self._http.request(method, path, json=body)
            except httpx.TimeoutException as error:
                found = f"did not answer {path} in time ({type(error).__name__})"
                continue
            except httpx.HTTPError as error:
                found = f"broke off at {path}: {type(error).__name__}: {error}"
                continue
            found = f"answered {path} with status {answer.status_code}: {answer.text[:500]}"
            if answer.is_success:
                return self._json(answer, path)
            if answer.is_client_error and answer.status_code not in TOO_BUSY:
                break
        raise self.explain(found)

    def _json(self, answer: httpx.Response, path: str) -> Any:
        try:
            return answer.json() if answer.content else None
        except ValueError:
            raise self.explain(f"answered {path} with {answer.text[:200]!r}, which is not JSON") from None
