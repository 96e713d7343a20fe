"""The engine `transformers`: what it samples, what it records, and that nothing else decides it."""

from __future__ import annotations

import pytest
import torch

from collegium import EngineError, Generation, SamplingParams
from collegium.builtin_components.engine import TransformersEngine, keep_nucleus
from collegium.task import Sample, Task
from collegium.testing.stages import toy_model
from collegium.training.batch import collate
from collegium.training.language_model import LanguageModel
from collegium.training.scoring import score

PROMPTS = [[2, 3, 4], [5, 6], [7, 2, 3, 4, 5, 6], [2], [3, 3], [4, 4, 4, 4]] * 6


def engine_with(model: LanguageModel, **options: int) -> TransformersEngine:
    engine = TransformersEngine(options)
    engine.sync(model, 3)
    return engine


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return toy_model()


def test_behaviour_logprobs_are_those_that_the_trainer_computes(model):
    made = list(engine_with(model).generate(PROMPTS, SamplingParams(max_tokens=20), range(5, 5 + len(PROMPTS))))
    batch = collate(PROMPTS, made, [Sample(Task(str(i), "")) for i in range(len(made))], [], pad_id=0)
    old = score(model, batch, micro_batch=7)
    assert (batch.behaviour - old)[batch.completion_mask].abs().max() < 1e-4
    assert len({made_one.finish_reason for made_one in made}) == 2


def test_generations_end_with_end_of_sequence_or_at_the_limit(model):
    for made in engine_with(model).generate(PROMPTS, SamplingParams(max_tokens=20), range(5, 5 + len(PROMPTS))):
        ended = made.token_ids[-1] in model.stop_ids
        assert made.finish_reason == ("stop" if ended else "length")
        assert ended or len(made.token_ids) == 20
        assert not any(token in model.stop_ids for token in made.token_ids[:-1])
        assert made.weight_version == 3


def test_the_same_seed_gives_the_same_tokens_whatever_the_global_state(model):
    engine, sampling = engine_with(model), SamplingParams(max_tokens=12)
    torch.manual_seed(0)
    one = engine.generate(PROMPTS, sampling, range(9, 9 + len(PROMPTS)))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert engine.generate(PROMPTS, sampling, range(9, 9 + len(PROMPTS))) == one
    assert torch.equal(torch.get_rng_state(), state)
    assert engine.generate(PROMPTS, sampling, range(10, 10 + len(PROMPTS))) != one


def test_greedy_is_what_transformers_generates(model):
    made = engine_with(model, batch=4).generate(PROMPTS[:6], SamplingParams(max_tokens=10, temperature=0.0), [0] * 6)
    for prompt, each in zip(PROMPTS, made, strict=False):
        tokens = torch.tensor([prompt])
        expected = model.model.generate(
            tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=10, do_sample=False, pad_token_id=0
        )
        assert list(each.token_ids) == expected[0, len(prompt) :].tolist()


def test_a_dropped_row_does_not_change_the_others(model):
    sampling = SamplingParams(max_tokens=30, temperature=0.0)
    together = engine_with(model).generate(PROMPTS[:6], sampling, range(6))
    alone = [engine_with(model).generate([prompt], sampling, [seed])[0] for seed, prompt in enumerate(PROMPTS[:6])]
    assert [each.token_ids for each in together] == [each.token_ids for each in alone]


def test_sampling_follows_the_models_distribution(model):
    count = 4000
    made = engine_with(model, batch=count).generate([[2, 3]] * count, SamplingParams(max_tokens=1), range(count))
    counts = torch.bincount(torch.tensor([each.token_ids[0] for each in made]), minlength=model.head.shape[0])
    expected = model.model(input_ids=torch.tensor([[2, 3]])).logits[0, -1].softmax(dim=-1)
    error = (counts / count - expected).abs() / (expected * (1 - expected) / count).sqrt()
    assert error.max() < 4.5


def test_temperature_and_top_p_logprobs_are_of_the_distribution_sampled_from(model):
    sampling = SamplingParams(max_tokens=1, temperature=0.5, top_p=0.6)
    logits = model.model(input_ids=torch.tensor([[2, 3]])).logits[0, -1].detach()
    expected = keep_nucleus((logits / 0.5).log_softmax(dim=-1)[None], 0.6)[0]
    for made in engine_with(model).generate([[2, 3]] * 200, sampling, range(200)):
        assert made.logprobs[0] == pytest.approx(float(expected[made.token_ids[0]]), abs=1e-5)


def test_the_nucleus_is_the_smallest_set_that_reaches_the_mass():
    logprobs = torch.tensor([[0.1, 0.5, 0.15, 0.25]]).log()
    assert torch.allclose(keep_nucleus(logprobs, 0.7).exp(), torch.tensor([[0.0, 2 / 3, 0.0, 1 / 3]]))
    assert torch.allclose(keep_nucleus(logprobs, 0.76).exp(), torch.tensor([[0.0, 5 / 9, 1.5 / 9, 2.5 / 9]]))
    assert torch.allclose(keep_nucleus(logprobs, 0.01).exp(), torch.tensor([[0.0, 1.0, 0.0, 0.0]]))


def test_an_empty_prompt_is_an_error(model):
    with pytest.raises(EngineError, match=r"prompts \[1\] have no token"):
        engine_with(model).generate([[2], []], SamplingParams(), [0, 1])


def test_completions_that_may_not_fit_the_context_are_an_error(model):
    with pytest.raises(EngineError, match="a prompt of 5 tokens and 60 sampled ones exceed the model's context of 64"):
        engine_with(model).generate([[2] * 5], SamplingParams(max_tokens=60), [0])


def test_generating_before_sync_is_an_error():
    with pytest.raises(EngineError, match="no weights"):
        TransformersEngine().generate([[2]], SamplingParams(), [0])


def test_generation_is_the_public_type(model):
    assert isinstance(engine_with(model).generate([[2]], SamplingParams(max_tokens=2), [0])[0], Generation)


def test_a_prompt_given_many_times_is_sampled_independently_each_time(model):
    prompts = [[2, 3, 4], [5, 6]] * 40
    made = list(engine_with(model).generate(prompts, SamplingParams(max_tokens=8), range(len(prompts))))
    assert len({each.token_ids for each in made[::2]}) > 30
    batch = collate(prompts, made, [Sample(Task(str(i), "")) for i in range(len(made))], [], pad_id=0)
    gap = (batch.behaviour - score(model, batch, micro_batch=16))[batch.completion_mask]
    assert gap.abs().max() < 1e-4
