"""HTTP: what is repeated, what is not, and what an error says, against a real server."""

from __future__ import annotations

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
    with pytest.raises(EngineError, match=r"not JSON|expected one choice"):
        client.complete("tiny", requests())


@pytest.mark.parametrize("answer", [lambda said: {}, lambda said: {"results": []}, lambda said: ["x"]])
def test_workers_that_return_nothing_are_an_error(server, client, answer):
    server.faults = {"/collective_rpc": [answer]}
    with pytest.raises(EngineError, match="expected one result per worker"):
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
