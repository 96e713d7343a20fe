"""One request to an OpenAI-compatible endpoint: sent, read within its time, and its failures told apart."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from collegium import ConfigError
from collegium.endpoints import KeyMask, retry_after
from collegium_verifier_judge.config import JudgeConfig
from collegium_verifier_judge.deadline import Deadline
from collegium_verifier_judge.failures import JudgeFailure, Repeatable

OWNER = "collegium-verifier-judge"
LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy", "httpcore.socks")
"""They log what services send; httpx the status line even at level INFO."""
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
        key = _read_key(config.api_key_env)
        self.mask = KeyMask(key)
        for name in LOGGERS:
            logging.getLogger(name).addFilter(self.mask.filter)
        # A compressed reply of a few kilobytes could unpack to gigabytes.
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        # One connection per request: a deadline can only end a connection that it saw begin.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._client = httpx.Client(headers=headers, limits=limits)

    def ask(self, body: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Send a request and return its reply.

        Args:
            body: The request.
            seconds: Within which the whole reply must be there, however slowly it comes.

        Raises:
            Repeatable: If the connection failed, time was up, the service was busy or failed (408, 429, 5xx), or the
                reply is no JSON object.
            JudgeFailure: If the service refused the request.
        """
        limits = httpx.Timeout(seconds, connect=min(seconds, CONNECT_S))
        request = self._client.build_request("POST", self.url, content=json.dumps(body).encode(), timeout=limits)
        try:
            with Deadline(seconds) as deadline:
                request.extensions = {**request.extensions, "trace": deadline.trace}
                response, text = self._exchange(request)
        except httpx.HTTPError as error:
            if deadline.over.is_set() or isinstance(error, httpx.TimeoutException):
                raise Repeatable(f"no reply within {seconds:.3g} s ({type(error).__name__})") from None
            raise Repeatable(f"the request failed: {type(error).__name__}", said=str(error)) from None
        if deadline.over.is_set():  # a body without a length ends where the connection does
            raise Repeatable(f"no reply within {seconds:.3g} s")
        if response.status_code != 200:
            _refuse(response, text)
        return _as_object(text)

    def _exchange(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        response = self._client.send(request, stream=True)
        try:
            return response, _read_limited(response)
        finally:
            response.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        for name in LOGGERS:
            logging.getLogger(name).removeFilter(self.mask.filter)


def _refuse(response: httpx.Response, text: bytes) -> None:
    """Raise what a status other than 200 means."""
    reason = f"the service answered {response.status_code}"
    said = f"{response.reason_phrase} {text.decode('utf-8', 'replace')}"
    if response.status_code in (408, 429) or response.status_code >= 500:
        wait_s = retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
        raise Repeatable(reason, said=said, wait_s=wait_s)
    raise JudgeFailure(reason, said=said)


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


def _read_limited(response: httpx.Response) -> bytes:
    """Read the body as it was sent, never unpacked."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise JudgeFailure(
            "the reply is compressed, which was not asked for (Accept-Encoding: identity)", said=encoding
        )
    parts, size = [], 0
    for part in response.iter_raw():
        parts.append(part)
        size += len(part)
        if size > LONGEST_REPLY:
            raise JudgeFailure(f"the reply has more than {LONGEST_REPLY} bytes")
    return b"".join(parts)


def _as_object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Repeatable("the reply is no JSON object", said=text.decode("utf-8", "replace"))
    return found
