"""The engine `vllm-server` with the real vLLM: started by the engine, attached by URL, killed in the middle."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
import time
from collections import deque
from pathlib import Path

import httpx
import pytest

from collegium import EngineError, SamplingParams
from collegium.builtin_components.engine import TransformersEngine
from collegium.task import Sample, Task
from collegium.training.batch import collate
from collegium_vllm.served import ServedRuntime, VllmServerEngine

pytestmark = [
    pytest.mark.engines,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed"),
]
PROMPTS = [[2, 3, 4], [5, 6], [7, 2, 3, 4, 5, 6], [2], [3, 3], [4] * 30] * 4
SEEDS = [2**62 + seed for seed in range(len(PROMPTS))]
SAMPLING = SamplingParams(max_tokens=20)


def largest_difference(policy, made):
    batch = collate(PROMPTS, made, [Sample(Task(str(i), "")) for i in range(len(made))], [], pad_id=0)
    return float((batch.behaviour - policy.logprobs(batch).detach())[batch.completion_mask].abs().max())


@pytest.fixture(scope="module")
def engine(tiny):
    """Return an engine whose server has been started; the head is tied, the harder case."""
    made = VllmServerEngine({"kv_cache_gb": 0.25})
    made.sync(tiny(seed=1), 1)
    yield made
    made.close()


def group_of(engine):
    return engine._runtime._process.pid


def members(group):
    """Return the live processes of a process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, owner = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        found += [int(stat.parent.name)] if int(owner) == group and state != "Z" else []
    return found


def test_behaviour_logprobs_are_the_trainers_after_every_update(engine, tiny):
    for version in (2, 3):
        policy = tiny(seed=version)
        engine.sync(policy, version)
        made = list(engine.generate(PROMPTS, SAMPLING, SEEDS))
        assert largest_difference(policy, made) < 1e-3
        assert {each.weight_version for each in made} == {version}
        assert {each.finish_reason for each in made} == {"stop", "length"}
        assert all(each.token_ids[-1] == 1 for each in made if each.finish_reason == "stop")


def test_greedy_is_what_the_engine_transformers_generates(engine, tiny):
    policy, greedy = tiny(seed=4), SamplingParams(max_tokens=20, temperature=0.0)
    engine.sync(policy, 4)
    reference = TransformersEngine()
    reference.sync(policy, 4)
    assert list(engine.generate(PROMPTS[:6], greedy, SEEDS[:6])) == list(
        reference.generate(PROMPTS[:6], greedy, SEEDS[:6])
    )


def test_a_seed_gives_the_same_tokens_alone_and_in_any_company(engine, tiny):
    engine.sync(tiny(seed=2), 5)
    together = engine.generate(PROMPTS, SAMPLING, SEEDS)
    alone = [engine.generate([prompt], SAMPLING, [seed])[0] for prompt, seed in zip(PROMPTS, SEEDS, strict=True)]
    assert [each.token_ids for each in together] == [each.token_ids for each in alone]


def test_an_update_that_is_skipped_is_caught(engine, tiny, monkeypatch):
    engine.sync(tiny(seed=2), 6)
    monkeypatch.setattr(ServedRuntime, "load", lambda self, weights: None)
    with pytest.raises(EngineError, match=r"trainer's weights of version 7: embed_tokens: trainer sum .*engine sum"):
        engine.sync(tiny(seed=3), 7)


def test_an_update_that_forgets_the_head_is_caught(engine, tiny, monkeypatch):
    load = ServedRuntime.load
    engine.sync(tiny(seed=2), 8)
    monkeypatch.setattr(
        ServedRuntime,
        "load",
        lambda self, weights: load(self, (each for each in weights if each[0] != "lm_head.weight")),
    )
    with pytest.raises(EngineError, match="version 9: lm_head: trainer sum"):
        engine.sync(tiny(seed=3), 9)


def test_weights_that_the_server_does_not_see_are_an_error_and_the_server_goes_on(engine, tiny, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("collegium_vllm.transfer._write", lambda weights, place: [str(place / "0.safetensors")])
        with pytest.raises(EngineError, match="must both see transfer_dir"):
            engine.sync(tiny(seed=2), 10)
    engine.sync(tiny(seed=2), 10)


def test_no_route_answers_without_the_key_and_no_worker_either(engine, tiny):
    """Not with another key, nor with vLLM's own way past its check (OPTIONS)."""
    policy = tiny(seed=5)
    engine.sync(policy, 11)
    client = engine._runtime._client
    before = engine._runtime.figures()
    update = {"method": "reload_weights", "kwargs": {"weights_path": "/nowhere"}}
    asked = [("GET", "/health", None), ("GET", "/v1/models", None), ("POST", "/collective_rpc", update),
             ("POST", "/reset_prefix_cache", None), ("OPTIONS", "/collective_rpc", None), ("GET", "/metrics", None)]  # fmt: skip
    for headers in ({}, {"Authorization": "Bearer sk-other"}):
        with httpx.Client(base_url=client.url, headers=headers, trust_env=False) as stranger:
            assert [stranger.request(*each[:2], json=each[2]).status_code for each in asked] == [401] * len(asked)
    key, client._key = client._key, "sk-other"
    with pytest.raises(EngineError, match="refused: collegium_load wants the key"):
        client.call_workers("collegium_load", [])
    client._key = key
    assert engine._runtime.figures() == before


def test_another_engine_attaches_by_url(engine, tiny, monkeypatch):
    monkeypatch.setenv("ATTACHED_KEY", engine._runtime._client._key)
    options = {"url": engine._runtime._client.url, "api_key_env": "ATTACHED_KEY"}
    attached = VllmServerEngine(options)
    policy = tiny(seed=5)
    attached.sync(policy, 11)
    assert largest_difference(policy, list(attached.generate(PROMPTS, SAMPLING, SEEDS))) < 1e-3
    attached.close()
    assert engine._runtime._client.is_healthy()
    monkeypatch.setenv("ATTACHED_KEY", "sk-other")
    with pytest.raises(EngineError, match="status 401"):
        VllmServerEngine(options).sync(policy, 12)


def test_a_server_killed_in_the_middle_is_a_clear_error_and_the_engine_can_start_again(engine, tiny):
    """Last of those that share the server."""
    policy, group = tiny(seed=6), group_of(engine)
    engine.sync(policy, 13)
    (server,) = Path(f"/proc/{group}/task/{group}/children").read_text().split()

    def kill():
        time.sleep(0.3)
        os.kill(int(server), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(EngineError, match=r"the vLLM server has ended, and .*; the end of its log:") as caught:
        deque((engine.generate(PROMPTS, SAMPLING, SEEDS) for _ in range(1000)), maxlen=0)
    killer.join()
    assert caught.value.owner == "collegium-vllm"
    assert "ended by signal 9" in str(caught.value)
    assert "resume" in str(caught.value)
    assert members(group) == []
    engine.sync(policy, 13)
    assert largest_difference(policy, list(engine.generate(PROMPTS, SAMPLING, SEEDS))) < 1e-3
    group = group_of(engine)
    assert len(members(group)) > 2
    engine.close()
    assert members(group) == []


def test_a_server_that_cannot_start_shows_why(tiny):
    engine = VllmServerEngine({"kv_cache_gb": 0.25, "max_model_len": 4096})
    with pytest.raises(EngineError, match="ended while it started; the end of its log") as caught:
        engine.sync(tiny(), 1)
    assert "max_model_len" in str(caught.value)
