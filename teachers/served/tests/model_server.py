"""A real HTTP server that scores tokens with a real model, in vLLM's and in SGLang's form, and fails as it is told.

`script` holds, per path, what to do with the next requests; `always` what to do with all others.
"""

from __future__ import annotations

import json
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from transformers import PreTrainedTokenizerBase

from collegium.training.language_model import LanguageModel

SCORING = ("/v1/completions", "/generate")


@dataclass(frozen=True)
class Behaviour:
    """What is done with a request instead of an honest reply."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None  # instead of the honest body
    change: Callable[[Any], Any] | None = None  # of the honest body
    hang: bool = False  # no reply until the server ends
    drop: bool = False  # the connection is closed without a reply
    cut: bool = False  # the body is shorter than its Content-Length
    trickle: bool = False  # byte by byte


@dataclass(frozen=True)
class Seen:
    """A request."""

    path: str
    headers: dict[str, str]
    body: Any
    at_once: int  # requests under way with it, itself included
    target: str  # as it stood in the request's first line: with the host, where a proxy is asked


class ModelServer(ThreadingHTTPServer):
    """The server. `key`, if given, must come with every request below ``/v1``."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, model: LanguageModel, tokenizer: PreTrainedTokenizerBase | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.model = model
        self.tokenizer = tokenizer or model.tokenizer
        self.served = ["teacher"]
        self.missing: set[str] = set()
        self.key = ""
        self.script: dict[str, list[Behaviour]] = {}
        self.always: dict[str, Behaviour] = {}
        self.seen: list[Seen] = []
        self.pause_s = 0.0
        self.meeting: threading.Barrier | None = None  # scoring requests wait for one another
        self.at_once = 0
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.scheme = "http"
        self.forwards = False

    @property
    def url(self) -> str:
        """The root, as recipes name it."""
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"

    def requests(self, *paths: str) -> list[Seen]:
        """Return the requests for some paths; the scoring ones by default."""
        return [seen for seen in self.seen if seen.path in (paths or SCORING)]

    def fail(self, *behaviours: Behaviour, path: str = "/v1/completions") -> None:
        """Do this with the next requests for a path."""
        self.script.setdefault(path, []).extend(behaviours)

    def use_tls(self, certificate: Path, key: Path) -> None:
        """Speak TLS with a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.scheme = "https"

    def score(self, tokens: list[int]) -> list[float]:
        """Return the log-prob of every token but the first, by the model's own logits."""
        with self.lock, torch.no_grad():
            logits = self.model.model(input_ids=torch.tensor([tokens])).logits[0, :-1].float()
        return logits.log_softmax(-1).gather(1, torch.tensor(tokens[1:])[:, None])[:, 0].tolist()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Be silent about clients that hang up, which the tests of time limits do."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet
    server: ModelServer

    def do_GET(self) -> None:
        self._serve(None)

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _serve(self, body: Any) -> None:
        server, target = self.server, self.path
        if server.forwards:  # as a proxy would; the model behind it is the same
            self.path = urlsplit(target).path
        with server.lock:
            queue = server.script.get(self.path)
            behaviour = queue.pop(0) if queue else server.always.get(self.path, Behaviour())
            server.at_once += 1
            server.seen.append(Seen(self.path, dict(self.headers), body, server.at_once, target))
        if self.path in SCORING:
            if server.meeting is not None:
                server.meeting.wait(30)
            time.sleep(server.pause_s)
        with server.lock:  # before the reply, which may be answered by the next request
            server.at_once -= 1
        self._behave(behaviour, body)

    def _behave(self, behaviour: Behaviour, body: Any) -> None:
        if behaviour.hang or behaviour.drop:
            if behaviour.hang:
                self.server.ended.wait(30)
            self.close_connection = True
            return
        status, reply = self._reply(body)
        if behaviour.change is not None:
            reply = behaviour.change(reply)
        content = behaviour.raw if behaviour.raw is not None else json.dumps(reply).encode()
        self._send(behaviour, behaviour.status if behaviour.status != 200 else status, content)

    def _send(self, behaviour: Behaviour, status: int, content: bytes) -> None:
        self.send_response(status)
        headers = {"Content-Length": str(len(content) + (50 if behaviour.cut else 0)), **behaviour.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        for part in [bytes([byte]) for byte in content] if behaviour.trickle else [content]:
            if behaviour.trickle and self.server.ended.wait(0.05):
                break
            self.wfile.write(part)
            self.wfile.flush()
        self.close_connection = behaviour.cut or behaviour.trickle

    def _reply(self, body: Any) -> tuple[int, Any]:
        server = self.server
        if server.key and self.path.startswith("/v1") and self.headers["Authorization"] != f"Bearer {server.key}":
            return 401, {"error": "Unauthorized"}
        if self.path in server.missing:
            return 404, {"detail": "Not Found"}
        return {
            "/health": self._health,
            "/v1/models": self._models,
            "/tokenize": self._tokenize,
            "/v1/completions": self._completions,
            "/generate": self._generate,
        }.get(self.path, self._nothing)(body)

    def _nothing(self, body: Any) -> tuple[int, Any]:
        return 404, {"detail": "Not Found"}

    def _health(self, body: Any) -> tuple[int, Any]:
        return 200, {}

    def _models(self, body: Any) -> tuple[int, Any]:
        return 200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.server.served]}

    def _tokenize(self, body: Any) -> tuple[int, Any]:
        try:
            ids = self.server.tokenizer.encode(body["prompt"], add_special_tokens=body["add_special_tokens"])
        except Exception as error:  # as vLLM does with what its tokenizer raises
            return 400, {"error": str(error)}
        return 200, {"tokens": ids, "count": len(ids)}

    def _completions(self, body: Any) -> tuple[int, Any]:
        if body["model"] not in self.server.served:
            return 404, {"error": "no such model"}
        choices = []
        for index, tokens in enumerate(body["prompt"]):
            scored = zip(tokens[1:], self.server.score(tokens), strict=True)
            entries = [{str(token): {"logprob": value, "rank": 1, "decoded_token": "?"}} for token, value in scored]
            choices.append({"index": index, "text": "?", "prompt_logprobs": [None, *entries]})
        return 200, {"object": "text_completion", "choices": choices[::-1]}  # the order is the index's business

    def _generate(self, body: Any) -> tuple[int, Any]:
        items = []
        last = len(self.server.model.head) - 1
        for tokens, start in zip(body["input_ids"], body["logprob_start_len"], strict=True):
            values = [None, *self.server.score(tokens)[start:]]
            echoed = [token if token < last else 0 for token in tokens[start:]]
            entries = [[value, token, None] for value, token in zip(values, echoed, strict=True)]
            meta = {"prompt_tokens": len(tokens), "finish_reason": {"type": "length"}, "input_token_logprobs": entries}
            items.append({"text": "?", "meta_info": meta})
        return 200, items

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(model: LanguageModel, tokenizer: PreTrainedTokenizerBase | None = None) -> Iterator[ModelServer]:
    """Serve on a free port while the context lasts."""
    server = ModelServer(model, tokenizer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
