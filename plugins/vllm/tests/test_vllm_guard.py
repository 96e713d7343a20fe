"""The key before every route, and before every worker's method."""

from __future__ import annotations

import asyncio

import pytest

from collegium_vllm.guard import VARIABLE, KeyGuard, key_of_this_process
from collegium_vllm.worker_extension import CollegiumWorker

KEY = "sk-right"


@pytest.fixture(autouse=True)
def keyed(monkeypatch):
    monkeypatch.setenv(VARIABLE, KEY)


def answer(kind="http", **scope):
    """Return what the guard sends, and whether the app was asked."""
    sent, reached = [], []

    async def app(scope, receive, send):
        reached.append(scope)

    async def send(message):
        sent.append(message)

    asyncio.run(KeyGuard(app)({"type": kind, "path": "/collective_rpc", "headers": [], **scope}, None, send))
    return sent, bool(reached)


def bearer(key):
    return (b"authorization", f"Bearer {key}".encode("latin-1"))


def test_a_request_with_the_key_passes():
    assert answer(headers=[(b"host", b"x"), bearer(KEY)]) == ([], True)
    assert answer("websocket", headers=[bearer(KEY)]) == ([], True)


def test_the_server_starts_and_ends_without_one():
    assert answer("lifespan") == ([], True)


@pytest.mark.parametrize("path", ["/collective_rpc", "/health", "/v1/models", "/reset_prefix_cache", "/sleep"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [bearer("sk-wrong")],
        [bearer("")],
        [bearer(f"{KEY}x")],
        [bearer("\xff")],
        [(b"authorization", KEY.encode())],
        [bearer(KEY), bearer("sk-wrong")],
    ],
)
def test_any_other_is_refused_on_every_route(path, method, headers):
    sent, reached = answer(path=path, method=method, headers=headers)
    assert not reached
    assert [message.get("status") for message in sent] == [401, None]
    assert KEY not in str(sent)


def test_a_websocket_without_the_key_is_closed():
    sent, reached = answer("websocket")
    assert not reached
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_key_there_is_no_server(monkeypatch, value):
    monkeypatch.delenv(VARIABLE) if value is None else monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(RuntimeError, match="set VLLM_API_KEY"):
        answer()


@pytest.mark.parametrize(
    "call",
    [
        lambda worker, key: worker.collegium_describe(key),
        lambda worker, key: worker.collegium_load(key, ["/nowhere"]),
        lambda worker, key: worker.collegium_figures(key),
    ],
)
@pytest.mark.parametrize(("held", "offered"), [(KEY, "sk-wrong"), (KEY, ""), (KEY, None), ("", ""), ("", "x")])
def test_a_worker_does_nothing_without_the_key(monkeypatch, call, held, offered):
    monkeypatch.setenv(VARIABLE, held)
    assert "wants the key" in call(CollegiumWorker(), offered)["refused"]


def test_a_workers_method_wants_a_key_at_all():
    with pytest.raises(TypeError, match="key"):
        CollegiumWorker().collegium_figures()


def test_with_the_key_a_worker_works():
    assert CollegiumWorker().collegium_load(KEY, ["/nowhere/0.safetensors"]) == {"missing": ["/nowhere/0.safetensors"]}


def test_a_vllm_in_process_has_a_key_of_its_own(monkeypatch):
    assert key_of_this_process() == KEY
    monkeypatch.delenv(VARIABLE)
    assert len(key_of_this_process()) > 20
    assert key_of_this_process() == key_of_this_process()
