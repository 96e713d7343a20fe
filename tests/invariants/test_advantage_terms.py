"""What holds across GRPO and MOPD: tool tokens teach nothing (h), and the outcome weight joins the two (i)."""

import pytest
import torch

from collegium.training.aggregation import token_weights
from collegium.training.logprobs import scatter_to_tokens, token_logprobs
from collegium.training.outcome import group_relative
from collegium.training.streams import TokenStreams
from collegium_grpo.loss import CispoLoss, ClippedLoss
from collegium_mopd.advantage import distill
from collegium_mopd.loss import ReverseKl, SampledToken, TopK

B, T, V, D = 4, 8, 11, 5
# Prompt, completion, tool answer (columns 4 and 5), completion, padding.
COMPLETION = torch.tensor(
    [[0, 0, 1, 1, 0, 0, 1, 1], [0, 1, 1, 1, 0, 0, 1, 0], [0, 0, 1, 1, 0, 0, 0, 0], [0] * 8]
).bool()
TOOL = torch.zeros(B, T, dtype=torch.bool)
TOOL[:2, 4:6] = True
AGGREGATIONS = [("sequence-mean", None), ("token-mean", None), ("constant", 7)]
LOSSES = {
    "clipped": ClippedLoss({"kl_coefficient": 0.1, "importance": "tis", "off_policy_delta": 1.0}),
    "GSPO": ClippedLoss({"ratio": "sequence"}),
    "CISPO": CispoLoss({"clip_high": 1.0}),
    "sampled token": SampledToken({"ratio_low": 0.0, "ratio_high": 1e6}),
    "reverse KL": ReverseKl(),
    "top-k": TopK({"k": 3}),
}


class Toy:
    """A toy policy: one state per token, one head; the same for the teacher."""

    def __init__(self, tool_shift=0.0):
        self.random = torch.Generator().manual_seed(4)
        self.states = self._randn(B, T, D).requires_grad_()
        self.head = self._randn(V, D).requires_grad_()
        self.teacher_states, self.teacher_head = self._randn(B, T, D), self._randn(V, D)
        self.token_ids = torch.randint(V, (B, T), generator=self.random)
        self.noise = 0.2 * self._randn(B, T)
        self.tool_shift = torch.where(TOOL, tool_shift, 0.0)

    def _randn(self, *shape):
        return torch.randn(*shape, generator=self.random, dtype=torch.float64)

    def logprobs(self, states, head, mask):
        values, _ = token_logprobs(states[mask], head, self.token_ids[mask])
        return scatter_to_tokens(values, mask)

    def streams(self, mask=COMPLETION, advantage=None):
        everywhere = torch.ones_like(mask)
        current = self.logprobs(self.states, self.head, everywhere) + self.tool_shift
        old = current.detach() + self.noise - 2 * self.tool_shift
        teacher = self.logprobs(self.teacher_states, self.teacher_head, everywhere)
        if advantage is None:
            advantage = distill(teacher, old, mask, coefficient=1.0, clip=5.0)
        return TokenStreams(
            mask=mask,
            current=current,
            old=old,
            behaviour=old - self.noise / 2,
            reference=teacher,
            teacher=teacher,
            advantage=advantage,
            hidden=self.states[mask],
            head=self.head,
            teacher_hidden=self.teacher_states[mask],
            teacher_head=self.teacher_head,
        )

    def gradient(self, loss, aggregation="sequence-mean", constant=None, **options):
        streams = self.streams(**options)
        weights = token_weights(streams.mask, aggregation, constant=constant)
        return torch.autograd.grad((weights * loss.per_token(streams).loss).sum(), (self.states, self.head))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize(("aggregation", "constant"), AGGREGATIONS)
def test_tool_tokens_inside_a_completion_get_exactly_no_gradient(loss, aggregation, constant):
    states, _ = Toy().gradient(loss, aggregation, constant)
    reached = states.ne(0).any(dim=-1)
    assert not reached[~COMPLETION].any()
    assert reached[COMPLETION].any()


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize(("aggregation", "constant"), AGGREGATIONS)
def test_what_the_streams_say_of_tool_tokens_changes_no_gradient(loss, aggregation, constant):
    plain = Toy().gradient(loss, aggregation, constant)
    shifted = Toy(tool_shift=-3.0).gradient(loss, aggregation, constant)
    for left, right in zip(plain, shifted, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)


def test_tool_tokens_would_have_had_a_gradient_without_the_mask():
    for loss in LOSSES.values():
        states, _ = Toy().gradient(loss, mask=COMPLETION | TOOL)
        assert states.ne(0).any(dim=-1)[TOOL].all()


REWARDS, GROUPS = torch.tensor([1.0, 0.0, 0.5, 0.0]), torch.tensor([0, 0, 1, 1])


def outcome():
    advantage, _ = group_relative(REWARDS, GROUPS, std=True)
    return advantage[:, None] * COMPLETION


def policy_gradient(toy, advantage):
    """The textbook policy gradient on-policy: the mean over each sequence of ``-A log p``, by autograd."""
    logprobs = (toy.states @ toy.head.T).log_softmax(-1).gather(2, toy.token_ids[..., None]).squeeze(-1)
    rows = [
        -(advantage[row] * logprobs[row])[COMPLETION[row]].mean() for row in range(B) if bool(COMPLETION[row].any())
    ]
    return torch.autograd.grad(torch.stack(rows).mean(), (toy.states, toy.head))


def on_policy_gradient(loss, advantage):
    toy = Toy()
    toy.noise = torch.zeros_like(toy.noise)
    return toy.gradient(loss, advantage=advantage), policy_gradient(toy, advantage)


def assert_equal(ours, theirs):
    for left, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-6, atol=1e-9)


def distill_term():
    streams = Toy().streams()
    return distill(streams.teacher, streams.current, COMPLETION, coefficient=1.0, clip=5.0)


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_without_a_teacher_the_combination_is_grpo(alpha):
    advantage = 0.0 * distill_term() + alpha * outcome()
    mopd, expected = on_policy_gradient(SampledToken(), advantage)
    grpo, _ = on_policy_gradient(ClippedLoss(), alpha * outcome())
    assert_equal(mopd, expected)
    assert_equal(mopd, grpo)
    assert any(part.any() for part in mopd)


def test_with_an_outcome_weight_of_zero_the_combination_is_distillation():
    mopd, expected = on_policy_gradient(SampledToken(), distill_term() + 0.0 * outcome())
    assert_equal(mopd, expected)
    log_ratio = (Toy().streams().teacher - Toy().streams().current).detach() * COMPLETION
    assert_equal(mopd, policy_gradient(Toy(), log_ratio.clamp(-5, 5)))


def test_terms_add_up_in_the_gradient():
    both, _ = on_policy_gradient(SampledToken(), distill_term() + 0.7 * outcome())
    teacher, _ = on_policy_gradient(SampledToken(), distill_term())
    reward, _ = on_policy_gradient(SampledToken(), outcome())
    assert_equal(both, [left + 0.7 * right for left, right in zip(teacher, reward, strict=True)])
