"""One try of a request to a vLLM server: the whole of it within its time, the reply within its size, the key masked."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from collegium.endpoints import KeyMask

IDLE_S = 2.0
"""Seconds that a connection is kept for the next request; servers close theirs after five."""
TOO_BUSY = (429, 503)
MOST_SAID = 300
"""Characters that are shown of what a server said."""


class Failed(Exception):
    """A try failed.

    Args:
        what: What the server did, as the rest of a sentence; the key is not in it.
        final: Whether another try would end the same.
    """

    def __init__(self, what: str, *, final: bool) -> None:
        super().__init__(what)
        self.final = final


class Exchange:
    """The server's HTTP side, within one event loop. It goes to the server itself: no proxy of the environment.

    Args:
        url: The server's root.
        key: Its API key, or none.
        timeout: Seconds for one try: connection, work and the whole reply.
        concurrency: Most requests at once.
    """

    def __init__(self, url: str, key: str | None, *, timeout: float, concurrency: int) -> None:
        self.mask = KeyMask(key or "")
        self._timeout = timeout
        self._slots = asyncio.Semaphore(concurrency)
        # Compressed, a reply of a few kilobytes could unpack to gigabytes.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=timeout,
            limits=httpx.Limits(max_connections=concurrency, keepalive_expiry=IDLE_S),
            trust_env=False,  # a proxy, or a netrc file, would get the key or replace it
            follow_redirects=False,
        )

    def told(self, said: Any) -> str:
        """Return what a server said, masked and then cut: a cut key would not be found."""
        return self.mask(said if isinstance(said, str) else str(said))[:MOST_SAID]

    def without_key(self, said: Any) -> Any:
        """Return JSON with the key masked in all its texts."""
        if isinstance(said, str):
            return self.mask(said)
        if isinstance(said, list):
            return [self.without_key(each) for each in said]
        if isinstance(said, dict):
            return {self.mask(name): self.without_key(value) for name, value in said.items()}
        return said

    async def ask(self, method: str, path: str, body: Any, longest: int, timeout: float | None = None) -> Any:
        """Return the JSON of a reply; None for an empty one.

        Raises:
            Failed: If there is none, or the server refused.
        """
        timeout = timeout or self._timeout
        try:
            # httpx's own limits are per read: a server that trickles would never meet one.
            async with (
                self._slots,
                asyncio.timeout(timeout),
                self._http.stream(method, path, json=body) as reply,
            ):
                text = await _read(reply, path, longest)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Failed(
                f"did not answer {path} in time, {timeout:g} s ({type(error).__name__})", final=False
            ) from None
        except (httpx.HTTPError, OSError) as error:
            raise Failed(f"broke off at {path}: {type(error).__name__}: {self.told(str(error))}", final=False) from None
        if not reply.is_success:
            final = not reply.is_server_error and reply.status_code not in TOO_BUSY
            said = self.told(text.decode("utf-8", "replace"))
            raise Failed(f"answered {path} with status {reply.status_code}: {said}", final=final)
        return self._json(text, path)

    def _json(self, text: bytes, path: str) -> Any:
        try:
            return json.loads(text) if text else None
        except (ValueError, RecursionError):
            said = self.told(text.decode("utf-8", "replace"))
            raise Failed(f"answered {path} with {said!r}, which is not JSON", final=True) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


async def _read(reply: httpx.Response, path: str, longest: int) -> bytes:
    """Read the body as it was sent, never unpacked."""
    encoding = reply.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Failed(f"answered {path} compressed, which was not asked for", final=True)
    parts, size = [], 0
    async for part in reply.aiter_raw():
        parts.append(part)
        size += len(part)
        if size > longest:
            raise Failed(f"answered {path} with more than {longest} bytes", final=True)
    return b"".join(parts)
