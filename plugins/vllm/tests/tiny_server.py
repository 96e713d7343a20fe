"""A small real HTTP server of a real model, with the routes of vLLM that the engine uses, and faults on demand."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch
from safetensors.torch import load_file

from collegium.training.language_model import LanguageModel
from collegium_vllm.fingerprint import figures_of
from collegium_vllm.guard import refusal


class Server(ThreadingHTTPServer):
    """One that is silent about clients that hang up, which the tests of time limits do."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class TinyServer:
    """Serves a model.

    Args:
        model: The model.
        key: What requests under `/v1` must carry.
    """

    def __init__(self, model: LanguageModel, key: str | None = None) -> None:
        self.model = model
        self.key = key
        self.faults: dict[str, list[Any]] = {}
        """Path to what befalls its next requests: a status, a status and a text, `drop`, `slow`, `trickle`, or a function of
        the answer."""
        self.headers: dict[str, str] = {}
        """Sent with every answer."""
        self.asked: list[tuple[str, Any]] = []
        self.serves = "tiny"
        self.describes: dict[str, Any] = {}
        self.forgets: tuple[str, ...] = ()
        """Weights that an update leaves as they were."""
        self.lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                server.answer(self)

            def do_POST(self) -> None:
                server.answer(self)

        self.http = Server(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers.get("Content-Length") or 0)) or b"null")
        path = request.path.partition("?")[0]
        with self.lock:
            self.asked.append((request.path, body))
            fault = self.faults[path].pop(0) if self.faults.get(path) else None
            authorized = not path.startswith("/v1") or request.headers.get("Authorization") == f"Bearer {self.key}"
            status, said = (200, self.say(path, body)) if self.key is None or authorized else (401, {"error": "no"})
        if fault == "drop":
            request.close_connection = True
            return
        if fault == "slow":
            time.sleep(1.5)
        status, said = (fault, {"error": "fault"}) if isinstance(fault, int) else (status, said)
        status, said = fault if isinstance(fault, tuple) else (status, said)
        text = fault(said) if callable(fault) else said
        data = text.encode() if isinstance(text, str) else json.dumps(text).encode()
        with contextlib.suppress(OSError):  # who asked may have gone
            request.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **self.headers}.items():
                request.send_header(name, value)
            request.end_headers()
            for part in [bytes([byte]) for byte in data] if fault == "trickle" else [data]:
                request.wfile.write(part)
                request.wfile.flush()
                time.sleep(0.1 if fault == "trickle" else 0)

    def say(self, path: str, body: Any) -> Any:
        if path == "/v1/models":
            return {"data": [{"id": self.serves}]}
        if path == "/v1/completions":
            return self.complete(body)
        if path == "/collective_rpc":
            if self.key is not None and body["args"][0] != self.key:
                return {"results": [refusal(body["method"])]}
            return {"results": [getattr(self, body["method"])(*body["args"])]}
        return {"success": True}

    def collegium_describe(self, key: str) -> dict[str, Any]:
        said = {
            "dtype": "float32", "device": "cpu", "max_model_len": 64, "logprobs_mode": "processed_logprobs",
            "generation_config": "vllm", "key_value_heads": 1, "tensor_parallel_size": 1, "experts": False,
        }  # fmt: skip
        return {**said, **self.describes}

    def collegium_load(self, key: str, files: list[str]) -> dict[str, list[str]]:
        weights = {name: weight for file in files for name, weight in load_file(file).items()}
        kept = {name: weight for name, weight in weights.items() if not name.startswith(self.forgets or ("-",))}
        self.model.model.load_state_dict(kept, strict=False)
        return {"missing": []}

    def collegium_figures(self, key: str) -> dict[str, list[float]]:
        figures = {name: figures_of(weight) for name, weight in self.model.named_weights()}
        return {name: [each.total, each.squares, each.count] for name, each in figures.items()}

    @torch.no_grad()
    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        random = torch.Generator().manual_seed(body["seed"])
        ids, logprobs, reason = [], [], "length"
        while len(ids) < body["max_tokens"] and reason == "length":
            logits = self.model.model(input_ids=torch.tensor([body["prompt"] + ids])).logits[0, -1].float()
            cold = body["temperature"] == 0
            scores = torch.log_softmax(logits / (1 if cold else body["temperature"]), dim=-1)
            token = int(scores.argmax() if cold else torch.multinomial(scores.exp(), 1, generator=random))
            ids.append(token)
            logprobs.append(float(scores[token]))
            reason = "stop" if token in body["stop_token_ids"] else "length"
        choice = {"token_ids": ids, "logprobs": {"token_logprobs": logprobs}, "finish_reason": reason}
        return {"choices": [choice]}


@contextlib.contextmanager
def serving(model: LanguageModel, key: str | None = None) -> Iterator[TinyServer]:
    """Serve a model in a thread."""
    server = TinyServer(model, key)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()
