"""The engine `vllm` with the real vLLM, on whatever device there is."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from collegium import EngineError, SamplingParams
from collegium.builtin_components.engine import TransformersEngine
from collegium.task import Sample, Task
from collegium.training.batch import collate
from collegium_vllm.local import LocalRuntime, VllmEngine

pytestmark = [
    pytest.mark.engines,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed"),
    pytest.mark.filterwarnings("default"),  # vLLM's own, when it is imported
]
PROMPTS = [[2, 3, 4], [5, 6], [7, 2, 3, 4, 5, 6], [2], [3, 3], [4] * 30] * 4
SEEDS = [2**62 + seed for seed in range(len(PROMPTS))]
SAMPLING = SamplingParams(max_tokens=20)


def largest_difference(policy, made):
    """Return how far the engine's log-probs of the sampled tokens are from the trainer's."""
    batch = collate(PROMPTS, made, [Sample(Task(str(i), "")) for i in range(len(made))], [], pad_id=0)
    return float((batch.behaviour - policy.logprobs(batch).detach())[batch.completion_mask].abs().max())


@pytest.fixture(scope="module", params=["tied", "untied"])
def tied(request):
    return request.param == "tied"


@pytest.fixture(scope="module")
def engine(tied):
    made = VllmEngine({"kv_cache_gb": 0.25})
    yield made
    made.close()


@pytest.fixture
def policy(engine, tiny, tied):
    """Return a policy with which the engine is in step."""
    model = tiny(seed=1, tied=tied)
    engine.sync(model, 7)
    return model


def test_behaviour_logprobs_are_the_trainers_after_every_update(engine, tiny, tied):
    for version in (1, 2, 3):
        policy = tiny(seed=version, tied=tied)
        engine.sync(policy, version)
        made = list(engine.generate(PROMPTS, SAMPLING, SEEDS))
        assert largest_difference(policy, made) < 1e-3
        assert {each.weight_version for each in made} == {version}


def test_log_probs_follow_temperature_and_nucleus(engine, policy):
    sampling = SamplingParams(max_tokens=1, temperature=0.5, top_p=0.6)
    scores = (policy.model(input_ids=torch.tensor([[2, 3]])).logits[0, -1].detach() / 0.5).log_softmax(dim=-1)
    kept = scores.exp().sort(descending=True)
    nucleus = kept.indices[kept.values.cumsum(0) - kept.values < 0.6]
    for made in engine.generate([[2, 3]] * 50, sampling, range(50)):
        assert made.token_ids[0] in nucleus
        expected = scores[made.token_ids[0]] - scores[nucleus].logsumexp(dim=0)
        assert made.logprobs[0] == pytest.approx(float(expected), abs=1e-3)


def test_greedy_is_what_the_engine_transformers_generates(engine, policy):
    greedy = SamplingParams(max_tokens=20, temperature=0.0)
    reference = TransformersEngine()
    reference.sync(policy, 7)
    assert list(engine.generate(PROMPTS[:6], greedy, SEEDS[:6])) == list(
        reference.generate(PROMPTS[:6], greedy, SEEDS[:6])
    )


def test_generations_end_with_a_stop_token_or_at_the_limit(engine, policy):
    reasons = set()
    for made in engine.generate(PROMPTS * 4, SAMPLING, range(4 * len(PROMPTS))):
        ended = made.token_ids[-1] in policy.stop_ids
        assert made.finish_reason == ("stop" if ended else "length")
        assert ended or len(made.token_ids) == 20
        assert not any(token in policy.stop_ids for token in made.token_ids[:-1])
        reasons.add(made.finish_reason)
    assert reasons == {"stop", "length"}


def test_every_stop_id_of_the_policy_stops(engine, policy, monkeypatch):
    monkeypatch.setattr(type(policy), "stop_ids", frozenset({1, 4, 9}))
    engine.sync(policy, 8)
    made = engine.generate(PROMPTS * 4, SAMPLING, range(4 * len(PROMPTS)))
    assert {each.token_ids[-1] for each in made if each.finish_reason == "stop"} == {1, 4, 9}


def test_a_seed_gives_the_same_tokens_alone_and_in_any_company(engine, policy):
    together = engine.generate(PROMPTS, SAMPLING, SEEDS)
    alone = [engine.generate([prompt], SAMPLING, [seed])[0] for prompt, seed in zip(PROMPTS, SEEDS, strict=True)]
    backwards = engine.generate(PROMPTS[::-1], SAMPLING, SEEDS[::-1])[::-1]
    assert [each.token_ids for each in together] == [each.token_ids for each in alone]
    assert [each.token_ids for each in together] == [each.token_ids for each in backwards]
    assert len({each.token_ids for each in engine.generate([[2]] * 20, SAMPLING, range(20))}) > 10


def test_sampling_follows_the_models_distribution(engine, policy):
    count = 2000
    made = engine.generate([[2, 3]] * count, SamplingParams(max_tokens=1), [seed * 7919 for seed in range(count)])
    counts = torch.bincount(torch.tensor([each.token_ids[0] for each in made]), minlength=len(policy.head))
    expected = policy.model(input_ids=torch.tensor([[2, 3]])).logits[0, -1].detach().softmax(dim=-1)
    error = (counts / count - expected).abs() / (expected * (1 - expected) / count).sqrt()
    assert error.max() < 4.5


def test_training_goes_on_without_touching_the_engine_and_the_engine_not_the_training(engine, policy):
    before = engine.generate(PROMPTS, SAMPLING, SEEDS)
    state, weights = torch.get_rng_state(), [weight.clone() for weight in policy.parameters()]
    engine.sync(policy, 7)
    engine.generate(PROMPTS, SAMPLING, SEEDS)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one, other) for one, other in zip(policy.parameters(), weights, strict=True))
    with torch.no_grad():
        for weight in policy.parameters():
            weight.add_(0.1)
    assert engine.generate(PROMPTS, SAMPLING, SEEDS) == before


def test_an_update_that_is_skipped_is_caught(engine, policy, tiny, tied, monkeypatch):
    monkeypatch.setattr(LocalRuntime, "load", lambda self, weights: None)
    engine.sync(policy, 8)  # the same weights: nothing to catch
    with pytest.raises(EngineError, match=r"trainer's weights of version 9: embed_tokens: trainer sum .*engine sum"):
        engine.sync(tiny(seed=2, tied=tied), 9)
    with pytest.raises(EngineError, match="has no weights"):
        engine.generate(PROMPTS, SAMPLING, SEEDS)


def test_an_update_that_forgets_the_head_is_caught_and_the_next_one_mends_it(engine, policy, tiny, tied, monkeypatch):
    load = LocalRuntime.load

    def without_head(self, weights):
        load(self, (each for each in weights if each[0] != "lm_head.weight"))

    after = tiny(seed=2, tied=tied)
    with monkeypatch.context() as patch:
        patch.setattr(LocalRuntime, "load", without_head)
        with pytest.raises(EngineError, match="version 9: lm_head: trainer sum") as caught:
            engine.sync(after, 9)
    assert "layer" not in str(caught.value)
    engine.sync(after, 9)
    assert largest_difference(after, list(engine.generate(PROMPTS, SAMPLING, SEEDS))) < 1e-3


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precisions_pass_the_check_after_every_update(tiny, dtype):
    engine = VllmEngine({"kv_cache_gb": 0.25, "dtype": dtype})
    try:
        for version in (1, 2):
            policy = tiny(seed=version)
            engine.sync(policy, version)
            assert largest_difference(policy, list(engine.generate(PROMPTS, SAMPLING, SEEDS))) < 0.2
    finally:
        engine.close()


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3", "gemma"])
def test_other_architectures_agree_with_the_trainer(architecture):
    from collegium.testing.stages import TOY_MODEL
    from collegium.training.initialise import initialise
    from collegium.training.model_spec import ModelSpec

    sizes = {**TOY_MODEL["sizes"], "hidden_size": 64, "num_key_value_heads": 1, "head_dim": 32}
    if architecture == "qwen2":
        del sizes["head_dim"]
    policy = initialise(ModelSpec(**{**TOY_MODEL, "architecture": architecture, "sizes": sizes}), 3)
    engine = VllmEngine({"kv_cache_gb": 0.25})
    try:
        engine.sync(policy, 1)
        assert largest_difference(policy, list(engine.generate(PROMPTS, SAMPLING, SEEDS))) < 1e-3
    finally:
        engine.close()


def test_a_vllm_that_cannot_start_is_a_clear_error(tiny):
    engine = VllmEngine({"kv_cache_gb": 0.25, "max_model_len": 4096})
    with pytest.raises(EngineError, match=r"vLLM could not start: (.|\n)*max_model_len") as caught:
        engine.sync(tiny(), 1)
    assert caught.value.owner == "collegium-vllm"


def test_after_a_failure_inside_vllm_the_next_sync_starts_it_anew(engine, policy):
    expected = engine.generate(PROMPTS, SAMPLING, SEEDS)
    with pytest.raises(EngineError, match="vLLM could not complete 2 prompts"):
        engine.generate([[10**6], [2]], SAMPLING, [1, 2])
    with pytest.raises(EngineError, match="has no weights"):
        engine.generate(PROMPTS, SAMPLING, SEEDS)
    engine.sync(policy, 7)
    assert engine.generate(PROMPTS, SAMPLING, SEEDS) == expected
