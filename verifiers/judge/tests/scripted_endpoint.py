"""A real HTTP server with the form of an OpenAI-compatible endpoint, whose judge follows a rule that one can compute.

The judge reads the request as a model would: the token and the texts between the fences. Points are the share of the
rubric's words (after ``Mention:``) that the response has, or the share of the reference's words; the better of two
responses is the one with more of the prompt's words. `script` holds what to do with the next requests instead.

``python scripted_endpoint.py PORT`` serves until it is ended.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FENCED = re.compile(r"<<<([0-9a-f]{12}) ([^\n]+)\n(.*?)\n\2 \1>>>", re.DOTALL)


@dataclass(frozen=True)
class Seen:
    """A request as the judge reads it."""

    body: dict[str, Any]
    headers: dict[str, str]
    token: str
    texts: dict[str, str]

    @property
    def system(self) -> str:
        """The system message."""
        return str(self.body["messages"][0]["content"])


def read(body: dict[str, Any], headers: dict[str, str]) -> Seen:
    """Find token and texts; what stands inside a fence is never searched for another one."""
    found = FENCED.findall(body["messages"][1]["content"])
    return Seen(body, headers, found[0][0], {name.partition(" (")[0]: text for _, name, text in found})


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def share(wanted: set[str], text: str) -> float:
    return len(wanted & words(text)) / len(wanted) if wanted else 0.0


def honest(seen: Seen) -> dict[str, Any]:
    """Judge by the rule."""
    texts = seen.texts
    if "RESPONSE A" in texts:
        wanted = words(texts["PROMPT"])
        a, b = share(wanted, texts["RESPONSE A"]), share(wanted, texts["RESPONSE B"])
        return {
            "token": seen.token,
            "reason": f"{a:.2f} : {b:.2f}",
            "winner": "A" if a > b else "B" if b > a else "tie",
        }
    scale = int(re.search(r"fully met|to (\d+)", seen.system.split('"points": a number from 0')[1]).group(1) or 0)  # type: ignore[union-attr]
    if "REFERENCE" in texts:
        wanted = words(texts["REFERENCE"])
        exact = texts["REFERENCE"].strip() == texts["RESPONSE"].strip()
        found = 1.0 if exact else min(0.9, share(wanted, texts["RESPONSE"]))
    else:
        rubric = re.search(r"Mention: (.*)", seen.system)
        found = share(words(rubric.group(1)) if rubric else set(), texts["RESPONSE"])
    return {"token": seen.token, "reason": "share of the words", "points": round(scale * found, 3)}


def completion(content: object, finish: str = "stop", **more: Any) -> dict[str, Any]:
    """Return a chat completion."""
    message = {"role": "assistant", "content": content, **more.pop("message", {})}
    return {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
        **more,
    }


Rule = Callable[[Seen], "dict[str, Any] | str"]


@dataclass
class Behaviour:
    """What to do with a request: a status with headers and body, after a delay; or an answer by another rule."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    rule: Rule = honest
    finish: str = "stop"
    usage: bool = True
    message: dict[str, Any] = field(default_factory=dict)
    hang: bool = False
    trickle: bool = False
    cut: bool = False
    phrase: str | None = None
    endless: bytes = b""  # sent again and again, instead of a reply
    opening: bytes = b""  # before what is endless


class Endpoint(ThreadingHTTPServer):
    """The server; `script` is used up first, then `always`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.script: list[Behaviour] = []
        self.always = Behaviour()
        self.seen: list[Seen] = []
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.at_once = 0
        self.most_at_once = 0
        self.pause_s = 0.0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Be silent about clients that hang up, which some tests do."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            seen = read(body, dict(self.headers))
            server.seen.append(seen)
            behaviour = server.script.pop(0) if server.script else server.always
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            if self.path != "/v1/chat/completions":
                self._send(404, {}, b'{"error": "no such path"}')
                return
            time.sleep(server.pause_s)
            self._answer(behaviour, seen)
        finally:
            with server.lock:
                server.at_once -= 1

    def _answer(self, behaviour: Behaviour, seen: Seen) -> None:
        if behaviour.hang:
            self.server.ended.wait(30)
            self.close_connection = True
            return
        if behaviour.endless:
            self._send_endlessly(behaviour.opening, behaviour.endless)
            return
        content = behaviour.raw
        if content is None:
            judged = behaviour.rule(seen)
            text = judged if isinstance(judged, str) or judged is None else json.dumps(judged)
            reply = completion(text, behaviour.finish, message=behaviour.message)
            if not behaviour.usage:
                del reply["usage"]
            content = json.dumps(reply).encode()
        if behaviour.trickle:
            self._trickle(content)
        elif behaviour.cut:
            self._send(behaviour.status, {"Content-Length": str(len(content) + 50)}, content)
            self.close_connection = True
        else:
            self._send(behaviour.status, behaviour.headers, content, behaviour.phrase)

    def _send(self, status: int, headers: dict[str, str], content: bytes, phrase: str | None = None) -> None:
        self.send_response(status, phrase)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def _send_endlessly(self, opening: bytes, part: bytes) -> None:
        self.close_connection = True
        sent = opening
        while not self.server.ended.wait(0.05):
            try:
                self.wfile.write(sent or part)
                self.wfile.flush()
            except OSError:
                return
            sent = b""

    def _trickle(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        for byte in content:
            if self.server.ended.wait(0.05):
                break
            try:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
            except OSError:
                break
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Endpoint]:
    """Serve on a free port while the context lasts."""
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


if __name__ == "__main__":
    Endpoint(int(sys.argv[1])).serve_forever()
