"""One exchange with the server: sent, read within its time and size, and its failures told apart."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from collegium import ConfigError
from collegium.endpoints import KeyMask, retry_after
from collegium_teacher_served.config import ServedTeacherConfig
from collegium_teacher_served.failures import OWNER, Failure, Repeatable

LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy", "httpcore.socks")
"""They log what servers send; httpx the status line even at level INFO."""
CONNECT_S = 10.0
"""Most seconds for a connection."""
IDLE_S = 2.0
"""Seconds that a connection is kept for the next request; servers close theirs after five."""


class Endpoint:
    """The server's HTTP side, within one event loop.

    Raises:
        ConfigError: If the variable of the key is not set or holds no key, or the authority's file is none.
    """

    def __init__(self, config: ServedTeacherConfig) -> None:
        self._config = config
        key = read_key(config.api_key_env)
        self.mask = KeyMask(key)
        # Compressed, a reply of a few kilobytes could unpack to gigabytes.
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._client = httpx.AsyncClient(
            headers=headers,
            verify=tls_context(config),
            follow_redirects=False,  # the key goes to the host that the recipe names, and to no other:
            trust_env=False,  # to no proxy of the environment, nor is it replaced by a netrc file's
            proxy=config.proxy,
            limits=httpx.Limits(max_connections=config.concurrency, keepalive_expiry=IDLE_S),
            timeout=httpx.Timeout(config.request_s, connect=min(config.request_s, CONNECT_S)),
        )
        for name in LOGGERS:
            logging.getLogger(name).addFilter(self.mask.filter)

    async def send(self, method: str, path: str, body: Mapping[str, Any] | None, longest: int) -> bytes:
        """Send a request and return the reply's body.

        Args:
            method: ``GET`` or ``POST``.
            path: Below the root, with its slash.
            body: Sent as JSON.
            longest: Bytes of a reply that are read.

        Raises:
            Repeatable: If the connection failed, time was up, or the server was busy or failed (408, 429, 5xx).
            Failure: If the server refused the request, or replied otherwise than it was asked to.
        """
        content = None if body is None else json.dumps(body).encode()
        try:
            # The client's own limits are per read: a server that trickles would never meet one.
            async with (
                asyncio.timeout(self._config.request_s),
                self._client.stream(method, self._config.url + path, content=content) as response,
            ):
                text = await _read(response, longest)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Repeatable(f"no reply within {self._config.request_s:g} s ({type(error).__name__})") from None
        except (httpx.HTTPError, OSError) as error:
            raise self._lost(error) from None
        self._refuse(response, text)
        return text

    def _lost(self, error: Exception) -> Failure:
        said = self.mask(str(error))
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
            return Failure("its certificate is not trusted", said=said, fix="name its authority's file in ca_file")
        return Repeatable(f"the connection failed ({type(error).__name__})", said=said)

    def _refuse(self, response: httpx.Response, text: bytes) -> None:
        """Raise what a status other than 200 means."""
        status = response.status_code
        if status == 200:
            return
        said = self.mask(f"{response.reason_phrase} {text.decode('utf-8', 'replace')}")
        if status in (408, 429) or status >= 500:
            wait_s = retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
            raise Repeatable(f"it answered {status}", said=said, wait_s=wait_s, busy=status == 429)
        if 300 <= status < 400:
            raise Failure(
                f"it answered {status}, a redirect, which is not followed",
                said=self.mask(response.headers.get("Location", "")),
                fix="give the address that it points to as url, if you trust it with the key",
            )
        raise Refused(f"it answered {status}", status, said=said, fix=self._remedy(status))

    def _remedy(self, status: int) -> str:
        variable = self._config.api_key_env
        if status not in (401, 403):
            return "see the server's log; the request does not fit it"
        if variable is None:
            return "it wants a key: name the variable that holds it in api_key_env"
        return f"the key in {variable} is not accepted"

    async def close(self) -> None:
        """Close the connections."""
        for name in LOGGERS:
            logging.getLogger(name).removeFilter(self.mask.filter)
        await self._client.aclose()


class Refused(Failure):
    """The server refused the request: a status of 4xx."""

    def __init__(self, reason: str, status: int, *, said: str, fix: str) -> None:
        super().__init__(reason, said=said, fix=fix)
        self.status = status


def tls_context(config: ServedTeacherConfig) -> ssl.SSLContext:
    """Return what checks the server's certificate.

    Raises:
        ConfigError: If the authority's file is missing or holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=config.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"ca_file {str(config.ca_file)!r} cannot be used: {error}",
            fix="give a PEM file with the authority's certificate",
            owner=OWNER,
        ) from error


def read_key(variable: str | None) -> str:
    """Return the key that an environment variable holds; empty for no variable.

    Raises:
        ConfigError: If it is not set, or holds what cannot be a key.
    """
    if variable is None:
        return ""
    key = os.environ.get(variable, "")
    if not (key and key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError(
            f"api_key_env names {variable}, which {'holds no valid key' if key else 'is not set'} here",
            fix=f"export {variable} where the stage runs, or leave api_key_env out if the server needs no key",
            owner=OWNER,
        )
    return key


async def _read(response: httpx.Response, longest: int) -> bytes:
    """Read the body as it was sent, never unpacked."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Failure(f"its reply is compressed ({encoding[:20]!r}), which was not asked for")
    parts, size = [], 0
    async for part in response.aiter_raw():
        parts.append(part)
        size += len(part)
        if size > longest:
            raise Failure(f"its reply has more than {longest} bytes")
    return b"".join(parts)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
