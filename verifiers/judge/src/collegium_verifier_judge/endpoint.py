"""One request to an OpenAI-compatible endpoint: sent, read within its time, and its failures told apart."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from collegium import ConfigError
from collegium_verifier_judge.config import JudgeConfig
from collegium_verifier_judge.failures import JudgeFailure, Repeatable

OWNER = "collegium-verifier-judge"
CONNECT_S = 5.0
"""Most seconds for a connection."""
LONGEST_REPLY = 4_000_000
"""Bytes of a reply that are read."""


class Endpoint:
    """The service. Safe to use from several threads.

    Raises:
        ConfigError: If the variable of the key is not set, or holds no key.
    """

    def __init__(self, config: JudgeConfig) -> None:
        self.url = f"{config.endpoint}/chat/completions"
        self._key = _read_key(config.api_key_env)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._client = httpx.Client(headers=headers, limits=httpx.Limits(max_connections=None))

    def ask(self, body: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Send a request and return its reply.

        Args:
            body: The request.
            seconds: Within which the whole reply must be there; a service that trickles is noticed after twice that.

        Raises:
            Repeatable: If the connection failed, time was up, the service was busy or failed (408, 429, 5xx), or the
                reply is no JSON object.
            JudgeFailure: If the service refused the request.
        """
        end = time.monotonic() + seconds
        content = json.dumps(body).encode()
        limits = httpx.Timeout(seconds, connect=min(seconds, CONNECT_S))
        try:
            with self._client.stream("POST", self.url, content=content, timeout=limits) as response:
                text = _read_within(response, end)
        except httpx.TimeoutException as error:
            raise Repeatable(f"no reply within {seconds:.3g} s ({type(error).__name__})") from None
        except httpx.HTTPError as error:
            raise Repeatable(f"the request failed: {type(error).__name__}: {self._without_key(str(error))}") from None
        if response.status_code != 200:
            self._refuse(response, text)
        return _as_object(text)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _refuse(self, response: httpx.Response, text: bytes) -> None:
        """Raise what a status other than 200 means."""
        excerpt = " ".join(self._without_key(text.decode("utf-8", "replace")).split())[:200]
        reason = f"the service answered {response.status_code} {response.reason_phrase}: {excerpt}"
        if response.status_code in (408, 429) or response.status_code >= 500:
            raise Repeatable(reason, retry_after(response.headers.get("Retry-After"), datetime.now(UTC)))
        raise JudgeFailure(reason)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text


def retry_after(header: str | None, now: datetime) -> float:
    """Return the seconds that a ``Retry-After`` header asks for (a number, or an HTTP date); 0 if it is not valid."""
    if header is None:
        return 0.0
    if header.strip().isdecimal() and header.isascii():
        return min(float(header), 1e9)
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, TypeError, OverflowError):
        return 0.0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _read_key(variable: str | None) -> str:
    if variable is None:
        return ""
    key = os.environ.get(variable, "")
    if not (key and key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError(
            f"api_key_env names {variable}, which {'holds no valid key' if key else 'is not set'}",
            fix=f"export {variable} where the run starts, or leave api_key_env out if the endpoint needs no key",
            owner=OWNER,
        )
    return key


def _read_within(response: httpx.Response, end: float) -> bytes:
    """Read the body. The client's own limit is per read, which a service that trickles would never meet."""
    parts, size = [], 0
    for part in response.iter_bytes():
        parts.append(part)
        size += len(part)
        if size > LONGEST_REPLY:
            raise JudgeFailure(f"the reply has more than {LONGEST_REPLY} bytes")
        if time.monotonic() > end:
            raise httpx.ReadTimeout("the reply came too slowly")
    return b"".join(parts)


def _as_object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Repeatable(f"the reply is no JSON object: {text[:80]!r}")
    return found
