"""HTTP: what is repeated, what is not, and what an error says, against a real server."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from collegium import EngineError, SamplingParams
from collegium_vllm import client as module
from collegium_vllm.client import Client
from collegium_vllm.sampling import Request

COMPLETIONS = "/v1/completions"
KEY = "sk-test-secret"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)


@pytest.fixture
def connect():
    made = []

    def connected(url, key=None, **options):
        made.append(Client(url, key, **{"timeout": 5, "retries": 0, "concurrency": 8, **options}))
        return made[-1]

    yield connected
    for each in made:
        each.close()


@pytest.fixture
def client(server, connect):
    return connect(server.url, timeout=0.5, retries=2)


def requests(count=1, **sampling):
    return [Request((2, 3, 4), SamplingParams(max_tokens=4, **sampling), seed, (1,)) for seed in range(count)]


def test_answers_come_in_the_order_of_the_requests(server, client):
    together = client.complete("tiny", requests(24))
    alone = [client.complete("tiny", [each])[0] for each in requests(24)]
    assert together == alone
    assert len({tuple(each.token_ids) for each in together}) > 4


def test_what_is_asked_says_every_parameter_that_a_server_might_set_otherwise(server, client):
    client.complete("tiny", requests(top_p=0.9, temperature=0.7))
    ((_, body),) = [each for each in server.asked if each[0] == COMPLETIONS]
    assert (body["prompt"], body["stop_token_ids"], body["ignore_eos"]) == ([2, 3, 4], [1], True)
    assert (body["temperature"], body["top_p"], body["top_k"], body["repetition_penalty"]) == (0.7, 0.9, 0, 1.0)


@pytest.mark.parametrize("fault", [500, 503, 429, "drop", "slow"])
def test_a_passing_fault_costs_a_repetition_and_changes_nothing(server, client, fault):
    expected = client.complete("tiny", requests())
    server.faults = {COMPLETIONS: [fault, fault]}
    assert client.complete("tiny", requests()) == expected


@pytest.mark.parametrize(
    ("fault", "message"),
    [(500, "with status 500"), ("drop", "broke off at /v1/completions"), ("slow", "did not answer .* in time")],
)
def test_a_fault_that_stays_is_an_error(server, client, fault, message):
    server.faults = {COMPLETIONS: [fault] * 3}
    with pytest.raises(EngineError, match=message) as caught:
        client.complete("tiny", requests())
    assert server.url in str(caught.value)
    assert server.faults == {COMPLETIONS: []}


def test_what_the_client_did_wrong_is_not_repeated(server, client):
    server.faults = {COMPLETIONS: [400, 500]}
    with pytest.raises(EngineError, match="status 400"):
        client.complete("tiny", requests())
    assert server.faults == {COMPLETIONS: [500]}


@pytest.mark.parametrize(
    "answer",
    [
        lambda said: "<html>not JSON</html>",
        lambda said: [],
        lambda said: {"choices": []},
        lambda said: {"choices": said["choices"] * 2},
        lambda said: {"choices": [{**said["choices"][0], "logprobs": None}]},
        lambda said: {"choices": [{key: value for key, value in said["choices"][0].items() if key != "token_ids"}]},
    ],
)
def test_an_answer_of_another_form_is_an_error(server, client, answer):
    server.faults = {COMPLETIONS: [answer]}
    with pytest.raises(EngineError, match=r"not JSON|other than one choice"):
        client.complete("tiny", requests())


@pytest.mark.parametrize("answer", [lambda said: {}, lambda said: {"results": []}, lambda said: ["x"]])
def test_workers_that_return_nothing_are_an_error(server, client, answer):
    server.faults = {"/collective_rpc": [answer]}
    with pytest.raises(EngineError, match="other than one result per worker"):
        client.call_workers("collegium_describe")


def test_a_prefix_cache_that_is_not_reset_is_an_error(server, client):
    server.faults = {"/reset_prefix_cache": [lambda said: {"success": False}]}
    with pytest.raises(EngineError, match="did not reset its prefix cache"):
        client.reset_prefix_cache()


def test_health_is_what_the_server_says(server, client, connect):
    assert client.is_healthy()
    server.faults = {"/health": [503]}
    assert not client.is_healthy()
    assert not connect("http://127.0.0.1:1").is_healthy()


def test_a_url_with_v1_is_the_same_server(server, connect):
    assert connect(f"{server.url}/v1/").model() == "tiny"


def test_the_key_is_sent_and_never_shown(servers, tiny, connect):
    with servers.serving(tiny(), key=KEY) as guarded:
        assert connect(guarded.url, KEY).model() == "tiny"
        guarded.faults = {"/v1/models": [500]}
        for key, status in ((KEY, "500"), ("sk-other", "401")):
            with pytest.raises(EngineError, match=status) as caught:
                connect(guarded.url, key).model()
            assert "sk-" not in str(caught.value)


ECHOES = {
    "plain": KEY,
    "JSON in JSON": json.dumps(json.dumps({"key": KEY})),
    "URL": quote(KEY, safe=""),
    "base64": base64.b64encode(f"user:{KEY}".encode()).decode(),
    "across the cut": "x" * 290 + KEY,
}


@pytest.fixture
def echoing(servers, tiny, connect):
    with servers.serving(tiny(), key=KEY) as guarded:
        yield guarded, connect(guarded.url, KEY)


def has_key(told):
    return any(KEY[start : start + 6] in told for start in range(len(KEY) - 5)) or ECHOES["base64"] in told


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize(
    ("path", "call"),
    [
        ("/v1/models", lambda client: client.model()),
        ("/collective_rpc", lambda client: client.call_workers("collegium_describe")),
        ("/reset_prefix_cache", lambda client: client.reset_prefix_cache()),
        (COMPLETIONS, lambda client: client.complete("tiny", requests())),
    ],
)
@pytest.mark.parametrize("form", ["an error", "no JSON", "other JSON"])
def test_a_key_that_the_server_echoes_is_masked_before_it_is_cut(echoing, echo, path, call, form):
    server, client = echoing
    text = json.dumps({"found": echo}) if form == "other JSON" else f"{echo} is no JSON"
    server.faults = {path: [(403 if form == "an error" else 200, text)]}
    with pytest.raises(EngineError) as caught:
        call(client)
    assert not has_key(str(caught.value))
    assert "[key]" in str(caught.value) or echo.startswith("x")


def test_a_key_within_what_a_worker_or_a_choice_returns_goes_no_further(echoing):
    server, client = echoing
    server.faults = {"/collective_rpc": [lambda said: {"results": [{KEY: [KEY, 1.5, None]}]}]}
    assert client.call_workers("collegium_figures") == [{"[key]": ["[key]", 1.5, None]}]
    server.faults = {
        COMPLETIONS: [
            lambda said: {"choices": [{"token_ids": [KEY], "logprobs": {"token_logprobs": [0]}, "finish_reason": KEY}]}
        ]
    }
    assert client.complete("tiny", requests())[0].finish_reason == "[key]"


def test_no_proxy_of_the_environment_gets_the_key(echoing, servers, tiny, connect, monkeypatch):
    server, _ = echoing
    with servers.serving(tiny()) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        client = connect(server.url, KEY)
        assert client.is_healthy()
        assert client.model() == "tiny"
        assert proxy.asked == []


def test_no_netrc_replaces_the_key(echoing, connect, monkeypatch, tmp_path):
    server, _ = echoing
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert connect(server.url, KEY).model() == "tiny"


def test_a_reply_that_trickles_ends_with_the_time_of_the_whole_request(server, connect):
    server.faults = {COMPLETIONS: ["trickle"]}
    with pytest.raises(EngineError, match=r"did not answer /v1/completions in time, 0.5 s"):
        connect(server.url, timeout=0.5).complete("tiny", requests())


@pytest.mark.parametrize("status", [200, 500])
def test_a_reply_that_is_too_long_is_an_error(server, client, monkeypatch, status):
    monkeypatch.setattr(module, "LONGEST_REPLY", 1000)
    server.faults = {"/v1/models": [(status, "x" * 100_000)]}
    with pytest.raises(EngineError, match="more than 1000 bytes"):
        client.model()


def test_a_compressed_reply_is_not_unpacked(server, client):
    server.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(EngineError, match="compressed, which was not asked for"):
        client.model()


def test_two_threads_may_use_it_in_turn(server, client):
    with ThreadPoolExecutor(4) as pool:
        names = list(pool.map(lambda _: client.model(), range(16)))
    assert names == ["tiny"] * 16
