"""What keeps a server's weights from whoever reaches its port: the API key, on every route and for every worker call.

vLLM asks for its key under `/v1` only, and its development mode, which updates of the weights need, offers routes that
replace weights. `KeyGuard` goes before all of them: ``--middleware collegium_vllm.guard.KeyGuard``. It runs in vLLM's
process, which may be a server's on another machine: nothing here needs the rest of a stage.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

VARIABLE = "VLLM_API_KEY"
"""Environment variable that holds vLLM's API key; vLLM hands variables of its own prefix on to its workers."""
GUARD = f"{__name__}.KeyGuard"
POLICY_VIOLATION = 1008

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def is_key(offered: object) -> bool:
    """Tell whether something is this process's key; nothing is where there is none."""
    key = os.environ.get(VARIABLE, "")
    return bool(key) and isinstance(offered, str) and hmac.compare_digest(offered.encode(), key.encode())


def refusal(method: str) -> dict[str, str]:
    """Return what a worker answers to a call without the key."""
    state = "other than the server's" if os.environ.get(VARIABLE) else f"not compared: the server has no {VARIABLE}"
    return {"refused": f"{method} wants the key, and what was sent is {state}"}


def key_of_this_process() -> str:
    """Return the key, drawn at random if the environment has none: of a vLLM that nobody else can reach."""
    os.environ[VARIABLE] = os.environ.get(VARIABLE) or secrets.token_urlsafe(24)
    return os.environ[VARIABLE]


class KeyGuard:
    """Middleware (ASGI) that lets only requests with the key pass, whatever their route and method.

    Args:
        app: What is guarded.

    Raises:
        RuntimeError: If the environment holds no key; the server does not start then.
    """

    def __init__(self, app: App) -> None:
        if not os.environ.get(VARIABLE):
            raise RuntimeError(f"collegium-vllm guards the server with its API key: set {VARIABLE}, not --api-key")
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer, or hand the request on."""
        if scope["type"] == "lifespan" or _has_key(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        else:
            headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"error": "Unauthorized"}'})


def _has_key(scope: Message) -> bool:
    found = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"authorization"]
    if len(found) != 1:
        return False
    scheme, _, key = found[0].partition(" ")
    return scheme.lower() == "bearer" and is_key(key)
