"""Temperature and the keep sampling mask: what is trained is the distribution that was sampled from."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from collegium import Engine, EngineError, Generation, Loss, PolicyError, Sample, SamplingParams, Task
from collegium.builtin_components.engine import TransformersEngine, keep_nucleus
from collegium.builtin_components.samplers import ShuffledSampler
from collegium.errors import ConfigError
from collegium.testing.stages import toy_domain, toy_job, toy_model, toy_registry
from collegium.training.batch import RolloutBatch, collate
from collegium.training.context import StageContext
from collegium.training.kept_sets import KeptSets
from collegium.training.language_model import LanguageModel
from collegium.training.logprobs import token_logprobs
from collegium.training.policy_update import PolicyUpdate, policy_streams
from collegium.training.rollout_config import RolloutConfig
from collegium.training.rollouts import RolloutCollector, check_records
from collegium.training.scoring import Scorer, check_handshake, score
from collegium.training.shared_prompts import share_prompts
from collegium.training.streams import LossOutput, TokenStreams
from collegium.training.teacher_pool import TeacherPool
from collegium.training.trainer import Trainer

COOL = {"temperature": 0.7}
CUT = {"temperature": 0.7, "top_p": 0.9, "keep_mask": True}
PROMPTS = [[2 + row // 4] * (5 + row // 4 % 3) for row in range(24)]
"""Six prompts with four completions each, so that rows of one prompt are laid out together."""


class PolicyGradient(Loss):
    needs = frozenset({"current", "advantage"})

    def per_token(self, streams: TokenStreams) -> LossOutput:
        return LossOutput(-streams.advantage * streams.current)


def sharp_model() -> LanguageModel:
    """Return a model whose distributions are far from flat, so that temperature and truncation matter."""
    model = toy_model(tie_word_embeddings=False)
    with torch.no_grad():
        model.head.mul_(8.0)
    return model


def rollouts(policy: LanguageModel, sampling: dict[str, object]) -> RolloutBatch:
    params = SamplingParams(max_tokens=8, **sampling)
    engine = TransformersEngine({"batch": 10})
    engine.sync(policy, 0)
    made = list(engine.generate(PROMPTS, params, range(len(PROMPTS))))
    samples = [Sample(Task(f"t{row}", ""), group=row // 4) for row in range(len(PROMPTS))]
    batch = collate(PROMPTS, made, samples, [], 0, params)
    batch.advantage = torch.linspace(-1, 1, len(batch))[:, None] * batch.completion_mask
    return batch


def sets_of(*sets: tuple[int, ...]) -> KeptSets:
    ids = torch.tensor([token for each in sets for token in each], dtype=torch.int32)
    return KeptSets(ids, torch.tensor([len(each) for each in sets], dtype=torch.int32))


def test_kept_logprobs_are_those_of_the_renormalised_set_by_hand():
    head = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64).log()[:, None]
    states, targets = torch.ones(2, 1, dtype=torch.float64), torch.tensor([3, 0])
    found, entropy = token_logprobs(states, head, targets, kept=sets_of((1, 3), (0,)))
    assert found.exp().tolist() == pytest.approx([4 / 6, 1.0])
    assert entropy.tolist() == pytest.approx([-(2 / 6 * math.log(2 / 6) + 4 / 6 * math.log(4 / 6)), 0.0])
    cool, _ = token_logprobs(states, head, targets, kept=sets_of((1, 3), (0,)), temperature=0.5)
    assert cool.exp().tolist() == pytest.approx([16 / 20, 1.0])


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_values_and_gradients_equal_those_of_masked_logits_and_outside_the_set_they_are_exactly_zero(chunk):
    make = torch.Generator().manual_seed(3)
    states = torch.randn(9, 5, generator=make, dtype=torch.float64).requires_grad_()
    head = torch.randn(12, 5, generator=make, dtype=torch.float64).requires_grad_()
    targets = torch.randint(11, (9,), generator=make)
    inside = torch.rand(9, 12, generator=make) < 0.4
    inside[:, 11] = False
    inside[torch.arange(9), targets] = True
    kept = KeptSets(inside.nonzero()[:, 1].int(), inside.sum(1).int())
    found, entropy = token_logprobs(states, head, targets, chunk=chunk, temperature=0.8, kept=kept)
    masked = (states @ head.T / 0.8).masked_fill(~inside, float("-inf")).log_softmax(-1)
    torch.testing.assert_close(found, masked.gather(1, targets[:, None])[:, 0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(entropy, torch.special.entr(masked.exp()).sum(-1).detach(), rtol=1e-10, atol=1e-12)
    upstream = torch.randn(9, generator=make, dtype=torch.float64)
    ours = torch.autograd.grad((found * upstream).sum(), (states, head))
    theirs = torch.autograd.grad((masked.gather(1, targets[:, None])[:, 0] * upstream).sum(), (states, head))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    assert (ours[1][11] == 0).all()  # a token of no set
    one_row = token_logprobs(states[:1], head, targets[:1], chunk=chunk, kept=sets_of((int(targets[0]),)))[0]
    assert (torch.autograd.grad(one_row.sum(), head)[0] == 0).all()  # a set of one has nothing to learn


def test_a_set_of_everything_is_the_plain_distribution():
    states, head, targets = torch.randn(4, 3), torch.randn(6, 3), torch.tensor([0, 5, 2, 3])
    everything = sets_of(*[tuple(range(6))] * 4)
    for one, other in zip(
        token_logprobs(states, head, targets, kept=everything), token_logprobs(states, head, targets), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("sampling", [COOL, CUT, {**CUT, "temperature": 1.0}])
def test_engine_and_trainer_agree_exactly_with_shared_prompts_and_without(sampling, monkeypatch):
    policy = sharp_model()
    batch = rollouts(policy, sampling)
    assert share_prompts(batch, policy.width) is not None
    shared = score(policy, batch, 32)
    assert (batch.behaviour - shared)[batch.completion_mask].abs().max() < 1e-4
    assert check_handshake(policy, batch, 0.05) < 1e-5
    monkeypatch.setattr(LanguageModel, "can_pack", lambda self, longest: False)
    torch.testing.assert_close(score(policy, batch, 5), shared, rtol=1e-5, atol=1e-5)
    plain = replace(batch, temperature=1.0, kept=None)
    assert (score(policy, plain, 32) - shared)[batch.completion_mask].abs().mean() > 0.02


@pytest.mark.parametrize("sampling", [COOL, CUT])
def test_the_update_trains_the_distribution_that_was_sampled(sampling):
    policy = sharp_model()
    batch = rollouts(policy, sampling)
    config = RolloutConfig(lr=1e-4, micro_batch=7, sampling={"max_tokens": 8, **sampling})
    found = PolicyUpdate(Trainer(policy, config, 10), PolicyGradient(), config)(batch, random.Random(0))
    assert found["behaviour_gap"] < 1e-5
    assert found["entropy"] == pytest.approx(float(entropies(sharp_model(), batch).mean()), abs=1e-4)


def entropies(policy: LanguageModel, batch: RolloutBatch) -> Tensor:
    """Return the entropy of each trained token's own distribution, from the model's logits, ``[N]``."""
    with torch.no_grad():
        logits = policy.model(input_ids=batch.token_ids, attention_mask=batch.attention_mask.long()).logits
    own = (logits[:, :-1][batch.completion_mask[:, 1:]] / batch.temperature).log_softmax(-1)
    if batch.kept is not None:
        own = keep_nucleus(own, CUT["top_p"])
    return torch.special.entr(own.exp()).sum(-1)


def test_the_reference_is_taken_over_the_same_ids_so_that_equal_policies_are_at_no_distance():
    policy = sharp_model()
    batch = rollouts(policy, CUT)
    torch.testing.assert_close(score(sharp_model(), batch, 4), score(policy, batch, 9), rtol=1e-5, atol=1e-5)


def test_the_engine_records_the_nucleus_of_every_token_and_samples_as_without_a_record():
    policy = sharp_model()
    engine = TransformersEngine({"batch": 10})
    engine.sync(policy, 0)
    seeds = range(len(PROMPTS))
    made = engine.generate(PROMPTS, SamplingParams(max_tokens=8, **CUT), seeds)
    plain = engine.generate(PROMPTS, SamplingParams(max_tokens=8, temperature=0.7, top_p=0.9), seeds)
    assert [replace(each, kept=None) for each in made] == list(plain)
    for prompt, each in zip(PROMPTS, made, strict=True):
        assert len(each.kept) == len(each.token_ids)
        ids = torch.tensor([[*prompt, *each.token_ids]])
        logits = policy.model(input_ids=ids).logits[0, len(prompt) - 1 : -1].detach()
        expected = keep_nucleus((logits / 0.7).log_softmax(-1), 0.9) > float("-inf")
        assert [set(found) for found in each.kept] == [set(row.nonzero()[:, 0].tolist()) for row in expected]
    assert {len(ids) for each in made for ids in each.kept} >= {2, 3, 4}


def test_rows_of_a_batch_keep_their_sets():
    batch = rollouts(sharp_model(), CUT)
    part = batch.select([5, 2]).to("cpu")
    assert [sets.sets() for sets in part.kept] == [batch.kept[5].sets(), batch.kept[2].sets()]
    assert part.temperature == 0.7
    assert part.kept_sets.sets() == batch.kept[5].sets() + batch.kept[2].sets()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kept": None}, "found none"),
        ({"kept": ((1,),)}, "found 1 for 2 tokens"),
        ({"kept": ((1, 4), (3,))}, "not among the ids"),
        ({"kept": ((1, 4), ())}, "not among the ids"),
    ],
)
def test_a_malformed_record_is_the_engines_error(change, said):
    made = Generation((4, 5), (-1.0, -1.0), "stop", 0, kept=((4,), (5, 6)))
    assert KeptSets.of(made).sets() == ((4,), (5, 6))
    with pytest.raises(EngineError, match=said):
        KeptSets.of(replace(made, **change))


def test_tokens_of_an_environment_have_no_set():
    made = Generation((4, 9, 5), (-1.0, 0.0, -1.0), "stop", 0, sampled=(True, False, True), kept=((4,), (), (5, 6)))
    assert KeptSets.of(made).sets() == ((4,), (5, 6))


class Forgetful(TransformersEngine):
    records_kept = False


def test_an_engine_that_records_nothing_is_refused_before_anything_is_sampled(tmp_path: Path):
    config = RolloutConfig(sampling=CUT)
    with pytest.raises(ConfigError, match="does not record the ids that top_p keeps"):
        check_records(Forgetful(), config)
    check_records(Forgetful(), RolloutConfig(sampling=COOL))
    assert not Engine.records_kept
    job = toy_job("collegium/toy", {}, tmp_path, domains=[toy_domain("copy")])
    context = StageContext(job, toy_registry(), lambda event: None)
    config = RolloutConfig(sampling={"max_tokens": 6, **CUT}, prompts=3, group=4)
    batch, _ = RolloutCollector(context, sharp_model(), config, sampler=ShuffledSampler(), reward=None).collect(1)
    assert batch.temperature == 0.7
    assert len(batch.kept) == 12


@pytest.mark.parametrize(
    ("sampling", "said"),
    [
        ({"temperature": 0}, "greedy: there is no distribution to learn"),
        ({"top_p": 0.97}, "add keep_mask: true"),
        ({"keep_mask": True}, "that is nothing"),
        ({"keep_mask": True, "top_p": 0.9, "temperature": 0}, "that is nothing"),
    ],
)
def test_sampling_that_cannot_be_trained_is_refused_with_the_fix(sampling, said):
    with pytest.raises(ValueError, match=said):
        RolloutConfig(sampling=sampling)


class FromStates(Loss):
    needs = frozenset({"hidden"})

    def per_token(self, streams: TokenStreams) -> LossOutput:
        return LossOutput(streams.current)


def test_losses_on_hidden_states_get_the_tempered_ones_and_refuse_a_mask():
    policy = sharp_model()
    batch = rollouts(policy, COOL)
    states = policy.predicting_states(batch).detach()
    streams, _ = policy_streams(batch, states, policy.head, None, FromStates.needs)
    logits = streams.hidden @ streams.head.T
    expected = logits.log_softmax(-1).gather(1, batch.token_ids[batch.completion_mask][:, None])[:, 0]
    torch.testing.assert_close(expected, streams.current[batch.completion_mask], rtol=1e-4, atol=1e-4)
    cut = rollouts(policy, CUT)
    states = policy.predicting_states(cut).detach()
    with pytest.raises(PolicyError, match="keep_mask"):
        policy_streams(cut, states, policy.head, None, FromStates.needs)


@pytest.mark.parametrize("sampling", [COOL, CUT])
def test_stages_with_teachers_sample_plainly(sampling):
    config = RolloutConfig(sampling=sampling)
    Scorer(sharp_model(), FromStates(), [], config)
    with pytest.raises(ConfigError, match="of the whole distribution at temperature 1"):
        Scorer(sharp_model(), FromStates(), [], config, teachers=TeacherPool({}, None, {}))
