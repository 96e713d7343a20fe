"""The losses' parts put together, against independent formulas."""

import math

import pytest
import torch

from collegium import PluginError
from collegium.training.streams import TokenStreams
from collegium_grpo.loss import CispoLoss, ClippedLoss

B, T = 3, 6


@pytest.fixture
def streams():
    make = torch.Generator().manual_seed(8)

    def logprobs(spread=0.3):
        return -1.0 + spread * torch.randn(B, T, generator=make, dtype=torch.float64)

    mask = torch.tensor([[0, 1, 1, 1, 1, 1], [0, 0, 1, 1, 0, 1], [0, 1, 0, 0, 0, 0]], dtype=torch.bool)
    return TokenStreams(
        mask=mask,
        current=logprobs().requires_grad_(),
        old=logprobs(),
        behaviour=logprobs(0.8),
        reference=logprobs(),
        advantage=torch.tensor([[1.0], [-1.0], [0.5]], dtype=torch.float64).expand(B, T),
    )


def gradient_of(loss, streams):
    output = loss.per_token(streams)
    return torch.autograd.grad(output.loss[streams.mask].sum(), streams.current)[0]


def test_on_policy_the_gradient_is_that_of_the_policy_gradient(streams):
    streams.old = streams.current.detach()
    for loss in (ClippedLoss(), ClippedLoss({"ratio": "sequence"}), CispoLoss({"clip_high": 1.0})):
        torch.testing.assert_close(gradient_of(loss, streams), torch.where(streams.mask, -streams.advantage, 0.0))


def test_ppo_formula_with_importance_and_kl(streams):
    config = {
        "clip_high": 0.28,
        "importance": "tis",
        "importance_high": 1.5,
        "kl_coefficient": 0.1,
        "kl_estimator": "k3",
    }
    actual = ClippedLoss(config).per_token(streams)
    ratio = torch.exp(streams.current - streams.old)
    gain = torch.min(ratio * streams.advantage, torch.clip(ratio, 0.8, 1.28) * streams.advantage)
    tis = torch.clip(torch.exp(streams.old - streams.behaviour), max=1.5)
    quotient = torch.exp(streams.reference - streams.current)
    expected = -tis * gain + 0.1 * (quotient - torch.log(quotient) - 1)
    torch.testing.assert_close(actual.loss, expected)
    torch.testing.assert_close(actual.stats["importance"], tis)


def test_statistics_are_detached_and_shaped_like_the_loss(streams):
    config = {"importance": "icepop", "kl_coefficient": 0.1, "off_policy_delta": 0.1}
    for loss in (ClippedLoss(config), CispoLoss({**config, "clip_high": 1.0})):
        output = loss.per_token(streams)
        assert set(output.stats) == {"ratio", "clip_low", "clip_high", "importance", "masked", "kl"}
        for value in output.stats.values():
            assert not value.requires_grad
            assert value.shape == output.loss.shape == (B, T)


def test_tokens_outside_icepops_window_have_exactly_no_gradient(streams):
    gradient = gradient_of(ClippedLoss({"importance": "icepop", "clip_low": 1.0, "clip_high": 1e9}), streams)
    mismatch = (streams.old - streams.behaviour).exp()
    outside = (mismatch < 0.5) | (mismatch > 2.0)
    assert outside[streams.mask].any()
    assert (gradient[outside] == 0).all()
    assert (gradient[streams.mask & ~outside] != 0).all()


def test_off_policy_sequences_with_a_negative_advantage_teach_nothing(streams):
    streams.behaviour = streams.current.detach() + 2.0
    gradient = gradient_of(ClippedLoss({"off_policy_delta": 1.0, "clip_low": 1.0, "clip_high": 1e9}), streams)
    learns = (gradient != 0).any(dim=1)
    assert learns.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("config", "needs"),
    [
        ({}, {"current", "old", "advantage"}),
        ({"importance": "tis"}, {"current", "old", "advantage", "behaviour"}),
        ({"importance": "icepop"}, {"current", "old", "advantage", "behaviour"}),
        ({"off_policy_delta": 0.5}, {"current", "old", "advantage", "behaviour"}),
        ({"kl_coefficient": 0.1}, {"current", "old", "advantage", "reference"}),
    ],
)
def test_a_loss_needs_the_streams_that_its_options_read_and_no_others(streams, config, needs):
    loss = ClippedLoss(config)
    assert loss.needs == needs
    for name in ("old", "behaviour", "reference", "advantage"):
        if name not in needs:
            setattr(streams, name, None)
    assert loss.per_token(streams).loss.isfinite().all()
    streams.old = None
    with pytest.raises(PluginError, match="reads the stream 'old'"):
        loss.per_token(streams)


def test_only_importance_corrects_for_the_age_of_rollouts():
    assert not ClippedLoss().corrects_age
    assert not ClippedLoss({"off_policy_delta": 1.0}).corrects_age  # it drops sequences and weighs none
    assert ClippedLoss({"importance": "tis"}).corrects_age
    assert CispoLoss({"clip_high": 1.0, "importance": "icepop", "off_policy_delta": 1.0}).corrects_age


def test_the_clipped_share_counts_tokens_whose_gradient_the_clip_took():
    ratio = torch.tensor([[0.5, 0.5, 1.0, 1.5, 1.5]])
    streams = TokenStreams(
        mask=torch.ones(1, 5, dtype=torch.bool),
        current=ratio.log().requires_grad_(),
        old=torch.zeros(1, 5),
        advantage=torch.tensor([[1.0, -1.0, 1.0, 1.0, -1.0]]),
    )
    clipped = ClippedLoss().per_token(streams).stats
    assert clipped["clip_low"].tolist() == [[0, 1, 0, 0, 0]]
    assert clipped["clip_high"].tolist() == [[0, 0, 0, 1, 0]]
    weights = CispoLoss({"clip_low": 0.2, "clip_high": 0.2}).per_token(streams).stats
    assert weights["clip_low"].tolist() == [[1, 1, 0, 0, 0]]
    assert weights["clip_high"].tolist() == [[0, 0, 0, 1, 1]]


def stale_penalty(config, behaviour, old, logits, reference):
    """Return the penalty's expected gradient in the logits over what `behaviour` samples, and the reverse KL's, ``[V]``."""
    current = logits.log_softmax(dim=-1)
    streams = TokenStreams(
        mask=torch.ones(1, len(logits), dtype=torch.bool),
        current=current[None],
        old=old[None],
        behaviour=behaviour[None],
        reference=reference[None],
        advantage=torch.zeros(1, len(logits), dtype=torch.float64),
    )
    expected = (behaviour.exp() * ClippedLoss(config).per_token(streams).loss[0]).sum()
    exact = (current.exp() * (current - reference)).sum()
    return [torch.autograd.grad(value, logits, retain_graph=True)[0] for value in (expected, exact)]


@pytest.mark.parametrize("importance", ["tis", "icepop"])
def test_the_corrected_penalty_has_the_reverse_kls_gradient_whoever_sampled(importance):
    make = torch.Generator().manual_seed(3)
    behaviour, old, reference, logits = torch.randn(4, 6, generator=make, dtype=torch.float64)
    others = [each.log_softmax(dim=-1) for each in (behaviour, old, reference)]
    logits.requires_grad_()
    wide = {"importance": importance, "importance_low": 0.0, "importance_high": 1e6, "kl_coefficient": 1.0}
    found, exact = stale_penalty(wide, others[0], others[1], logits, others[2])
    torch.testing.assert_close(found, exact, rtol=1e-12, atol=1e-12)
    uncorrected, _ = stale_penalty({"kl_coefficient": 1.0}, others[0], others[1], logits, others[2])
    assert (uncorrected - exact).norm() > 0.1 * exact.norm()
    on_policy, _ = stale_penalty({"kl_coefficient": 1.0}, others[1], others[1], logits, others[2])
    torch.testing.assert_close(on_policy, exact, rtol=1e-12, atol=1e-12)


def test_the_off_policy_mask_leaves_the_penalty_alone(streams):
    streams.behaviour = streams.current.detach() + 2.0
    streams.advantage = -torch.ones_like(streams.advantage)
    masked = {"off_policy_delta": 1.0, "kl_coefficient": 0.1}
    output = ClippedLoss(masked).per_token(streams)
    assert (output.stats["importance"] == 0).all()
    torch.testing.assert_close(output.loss, 0.1 * output.stats["kl"], check_dtype=False)
    assert (output.loss[streams.mask] > 0).all()


def test_kl_estimators_by_hand():
    current = torch.tensor([[math.log(0.5)]], requires_grad=True)
    streams = TokenStreams(
        mask=torch.ones(1, 1, dtype=torch.bool),
        current=current,
        old=torch.tensor([[math.log(0.4)]]),
        reference=torch.tensor([[math.log(0.25)]]),
        advantage=torch.zeros(1, 1),
    )
    k3 = 0.5 + math.log(2) - 1
    for estimator, expected in (("k2", math.log(2) ** 2 / 2), ("k3", k3), ("k3-corrected", 1.25 * k3)):
        output = ClippedLoss({"kl_coefficient": 2.0, "kl_estimator": estimator}).per_token(streams)
        assert output.loss.item() == pytest.approx(2 * expected)
        assert output.stats["kl"].item() == pytest.approx(expected)
