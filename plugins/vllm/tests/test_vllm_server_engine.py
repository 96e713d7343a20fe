"""The engine `vllm-server` attached to a real server of a real model: updates, the check, generations, failures."""

from __future__ import annotations

import pytest
import torch

from collegium import ConfigError, EngineError, SamplingParams
from collegium.task import Sample, Task
from collegium.training.batch import collate
from collegium_vllm import client as client_module
from collegium_vllm.guard import refusal
from collegium_vllm.served import VllmServerEngine

PROMPTS = [[2, 3, 4], [5, 6], [7, 2, 3, 4, 5, 6], [2], [3, 3]] * 3
SEEDS = list(range(100, 115))
SAMPLING = SamplingParams(max_tokens=12)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(client_module, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setenv("ROLLOUT_KEY", "sk-any")


@pytest.fixture
def engine(server):
    made = VllmServerEngine({"url": server.url, "api_key_env": "ROLLOUT_KEY", "request_timeout_s": 5})
    yield made
    made.close()


@pytest.mark.parametrize("tied", [True, False])
def test_generations_are_the_trainers_after_every_update(servers, tiny, tied):
    with servers.serving(tiny(seed=99, tied=tied)) as server:
        engine = VllmServerEngine({"url": server.url, "api_key_env": "ROLLOUT_KEY"})
        for version in (3, 4):
            policy = tiny(seed=version, tied=tied)
            engine.sync(policy, version)
            made = list(engine.generate(PROMPTS, SAMPLING, SEEDS))
            batch = collate(PROMPTS, made, [Sample(Task(str(i), "")) for i in range(len(made))], [], pad_id=0)
            current = policy.logprobs(batch)
            assert (batch.behaviour - current)[batch.completion_mask].abs().max() < 1e-4
            assert {each.weight_version for each in made} == {version}
        engine.close()


def test_the_cache_of_other_weights_is_dropped_with_every_update(server, engine, tiny):
    engine.sync(tiny(), 1)
    engine.sync(tiny(seed=1), 2)
    order = [body["method"] if body else path for path, body in server.asked if path != "/v1/models"]
    update = ["collegium_load", "/reset_prefix_cache", "collegium_figures"]
    assert order == ["collegium_describe", *update, *update]


def test_prompts_with_pictures_are_refused(engine, tiny):
    engine.sync(tiny(), 1)
    with pytest.raises(EngineError, match="token ids alone here, and some prompts have pictures"):
        engine.generate(PROMPTS, SAMPLING, SEEDS, [(b"a picture",)] * len(PROMPTS))
    assert len(engine.generate(PROMPTS, SAMPLING, SEEDS, [()] * len(PROMPTS))) == len(PROMPTS)


def test_files_of_weights_are_gone_after_the_update(server, tiny, tmp_path):
    engine = VllmServerEngine({"url": server.url, "api_key_env": "ROLLOUT_KEY", "transfer_dir": str(tmp_path)})
    engine.sync(tiny(), 1)
    (files,) = [body["args"][1] for path, body in server.asked if body and body.get("method") == "collegium_load"]
    assert all(file.startswith(str(tmp_path)) for file in files)
    assert list(tmp_path.iterdir()) == []
    engine.close()


def test_a_large_model_goes_in_several_files(server, engine, tiny, monkeypatch):
    monkeypatch.setattr("collegium_vllm.transfer.SHARD", 20_000)
    engine.sync(tiny(), 1)
    (files,) = [body["args"][1] for path, body in server.asked if body and body.get("method") == "collegium_load"]
    assert len(files) > 3


def test_an_update_that_is_skipped_is_caught(server, engine, tiny, monkeypatch):
    engine.sync(tiny(), 1)
    monkeypatch.setattr(type(server), "collegium_load", lambda self, key, files: {"missing": []})
    engine.sync(tiny(), 2)  # the same weights: nothing to catch
    with pytest.raises(EngineError, match=r"trainer's weights of version 3: embed_tokens: trainer sum .*engine sum"):
        engine.sync(tiny(seed=1), 3)


def test_an_update_that_forgets_the_head_is_caught(servers, tiny):
    with servers.serving(tiny(seed=99, tied=False)) as server:
        engine = VllmServerEngine({"url": server.url, "api_key_env": "ROLLOUT_KEY"})
        server.forgets = ("lm_head",)
        with pytest.raises(EngineError, match="version 1: lm_head: trainer sum") as caught:
            engine.sync(tiny(tied=False), 1)
        assert "embed_tokens" not in str(caught.value)
        engine.close()


def test_after_a_failed_update_nothing_is_sampled(server, engine, tiny):
    engine.sync(tiny(), 1)
    server.faults = {"/collective_rpc": [400]}
    with pytest.raises(EngineError, match="status 400"):
        engine.sync(tiny(seed=1), 2)
    with pytest.raises(EngineError, match="has no weights"):
        engine.generate(PROMPTS, SAMPLING, SEEDS)
    engine.sync(tiny(seed=1), 2)
    assert engine.generate(PROMPTS, SAMPLING, SEEDS)[0].weight_version == 2


def test_weights_that_the_server_does_not_see_are_an_error_that_says_how(server, engine, tiny, monkeypatch):
    monkeypatch.setattr(type(server), "collegium_load", lambda self, key, files: {"missing": files})
    with pytest.raises(EngineError, match="must both see transfer_dir"):
        engine.sync(tiny(), 1)


def test_a_repeated_update_is_harmless(server, engine, tiny):
    server.faults = {"/collective_rpc": [None, 500, None, "drop"], "/reset_prefix_cache": [503]}
    engine.sync(tiny(), 1)
    assert server.faults == {"/collective_rpc": [], "/reset_prefix_cache": []}


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"logprobs_mode": "raw_logprobs"}, "--logprobs-mode processed_logprobs"),
        ({"generation_config": "auto"}, "--generation-config vllm"),
        ({"tensor_parallel_size": 2}, "exceeds the model's 1 key-value heads"),
        ({"experts": True}, "mixture of experts"),
        ({"dtype": "int4"}, "the same version of collegium-vllm"),
    ],
)
def test_a_server_that_would_sample_otherwise_is_refused(server, engine, tiny, said, message):
    server.describes = said
    with pytest.raises(EngineError, match=message):
        engine.sync(tiny(), 1)


def test_a_server_without_the_worker_extension_says_how_to_start_it(server, engine, tiny):
    server.faults = {"/collective_rpc": [404]}
    with pytest.raises(EngineError, match=r"VLLM_SERVER_DEV_MODE=1 .*--worker-extension-cls collegium_vllm") as caught:
        engine.sync(tiny(), 1)
    assert caught.value.owner == "collegium-vllm"


def test_a_malformed_generation_is_an_error(server, engine, tiny):
    def shorter(said):
        said["choices"][0]["logprobs"]["token_logprobs"].pop()
        return said

    engine.sync(tiny(), 1)
    server.faults = {"/v1/completions": [shorter]}
    with pytest.raises(EngineError, match=r"malformed: .* log-probs for .* tokens"):
        engine.generate(PROMPTS[:1], SAMPLING, SEEDS[:1])


def test_a_server_that_is_gone_is_a_clear_error(servers, tiny):
    with servers.serving(tiny(seed=99)) as server:
        engine = VllmServerEngine(
            {"url": server.url, "api_key_env": "ROLLOUT_KEY", "retries": 1, "request_timeout_s": 5}
        )
        engine.sync(tiny(), 1)
    with pytest.raises(EngineError, match=r"the server at http://127.0.0.1:\d+ (broke off|did not answer)") as caught:
        engine.generate(PROMPTS, SAMPLING, SEEDS)
    assert "resume" in str(caught.value)
    engine.close()


def test_sleep_on_a_cpu_is_refused(server, tiny):
    engine = VllmServerEngine({"url": server.url, "api_key_env": "ROLLOUT_KEY", "sleep_between": True})
    with pytest.raises(ConfigError, match="sleep_between needs a GPU"):
        engine.sync(tiny(), 1)
    engine.close()


def test_on_an_accelerator_it_sleeps_after_each_call_and_wakes_for_the_next(server, tiny):
    server.describes = {"device": "cuda"}
    engine = VllmServerEngine({"url": server.url, "api_key_env": "ROLLOUT_KEY", "sleep_between": True})
    engine.sync(tiny(), 1)
    for _ in range(2):
        engine.generate([[2]], SAMPLING, [5])
    engine.sync(tiny(), 2)
    order = [path for path, _ in server.asked if path.startswith(("/sleep", "/wake", "/v1/completions", "/reset"))]
    call = ["/v1/completions", "/sleep?level=1", "/wake_up"]
    assert order == ["/reset_prefix_cache", *call, *call, "/reset_prefix_cache"]
    engine.close()


def test_the_key_comes_from_the_environment(servers, tiny, monkeypatch):
    with servers.serving(tiny(seed=99), key="sk-right") as server:
        options = {"url": server.url, "api_key_env": "ROLLOUT_KEY"}
        monkeypatch.delenv("ROLLOUT_KEY", raising=False)
        with pytest.raises(ConfigError, match="ROLLOUT_KEY, which is not set"):
            VllmServerEngine(options).sync(tiny(), 1)
        monkeypatch.setenv("ROLLOUT_KEY", "two words")
        with pytest.raises(ConfigError, match="ROLLOUT_KEY, which holds no valid key") as caught:
            VllmServerEngine(options).sync(tiny(), 1)
        assert "two words" not in str(caught.value)
        monkeypatch.setenv("ROLLOUT_KEY", "sk-right")
        engine = VllmServerEngine(options)
        engine.sync(tiny(), 1)
        assert len(engine.generate([[2]], SAMPLING, [5])) == 1
        assert "sk-right" not in repr(engine.config)
        engine.close()


def test_workers_that_refuse_the_key_end_the_stage_before_any_weight_is_written(server, engine, tiny, monkeypatch):
    monkeypatch.setattr(type(server), "collegium_describe", lambda self, key: refusal("collegium_describe"))
    with pytest.raises(
        EngineError, match=r"(?s)refused: collegium_describe wants the key.*--middleware collegium_vllm.guard"
    ):
        engine.sync(tiny(), 1)
    assert {body["method"] for _, body in server.asked if body} == {"collegium_describe"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "computes in bfloat16, expected float32, the precision of the trainer"),
        ({"dtype": "float16"}, "computes in bfloat16, expected float16, which dtype names"),
    ],
)
def test_another_precision_than_the_trainers_is_refused_before_any_weight_is_sent(server, tiny, options, message):
    server.describes = {"dtype": "bfloat16"}
    engine = VllmServerEngine({"url": server.url, "api_key_env": "ROLLOUT_KEY", **options})
    with pytest.raises(EngineError, match=message) as caught:
        engine.sync(tiny(), 1)
    assert "say dtype: bfloat16 in the recipe if that is meant" in str(caught.value)
    assert {body["method"] for _, body in server.asked if body} == {"collegium_describe"}
    with pytest.raises(EngineError, match=message):  # once refused, it stays refused
        engine.sync(tiny(), 2)
    engine.close()


def test_another_precision_that_the_recipe_names_is_taken(server, tiny):
    server.describes = {"dtype": "bfloat16"}
    server.model.model.to(torch.bfloat16)
    engine = VllmServerEngine({"url": server.url, "api_key_env": "ROLLOUT_KEY", "dtype": "bfloat16"})
    engine.sync(tiny(), 1)
    assert len(engine.generate(PROMPTS, SAMPLING, SEEDS)) == len(PROMPTS)
    engine.close()


def test_before_any_sync_there_is_nothing_to_sample(server, engine):
    with pytest.raises(EngineError, match="call sync before generate"):
        engine.generate(PROMPTS, SAMPLING, SEEDS)


def test_training_goes_on_without_touching_the_engines_weights(server, engine, tiny):
    policy = tiny()
    engine.sync(policy, 1)
    before = engine.generate(PROMPTS, SAMPLING, SEEDS)
    with torch.no_grad():
        for weight in policy.parameters():
            weight.add_(0.1)
    assert engine.generate(PROMPTS, SAMPLING, SEEDS) == before
