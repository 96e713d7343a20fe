"""The losses by hand, against the papers' formulas written out with plain floats, and against TRL's own code."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from collegium.testing.stages import toy_model
from collegium.training.preference import dpo_loss
from collegium_dpo.loss_config import DpoLoss, IpoLoss, KtoLoss, OrpoLoss, PreferenceLoss, SimpoLoss
from collegium_dpo.losses import ipo_loss, kto_loss, log_odds_ratio, smoothed_logistic
from collegium_dpo.objective import ScoredPairs, formatting_ids, pair_losses
from collegium_dpo.scores import SequenceScores

CHOSEN, REJECTED = [-6.0, -12.5, -3.25], [-9.0, -11.0, -20.0]
REFERENCE_CHOSEN, REFERENCE_REJECTED = [-7.0, -12.0, -3.0], [-8.5, -11.5, -14.0]
CHOSEN_TOKENS, REJECTED_TOKENS = [3, 5, 2], [4, 5, 8]
KL = 0.4583333432674408

# What trl 1.16.0 returns for these log-probs: DPOTrainer._compute_loss, KTOTrainer._compute_loss,
# ORPOTrainer.odds_ratio_loss and CPOTrainer.cpo_loss, called on a model that gives them, pair by pair (KTO: the mean).
TRL: list[tuple[Any, list[float]]] = [
    (DpoLoss(beta=0.1), [0.62095707654953, 0.7443966865539551, 0.4464181959629059]),
    (DpoLoss(beta=5, length_normalise=True), [0.09630769491195679, 1.3132617473602295, 0.04299908131361008]),
    (IpoLoss(beta=0.1), [20.626733779907227, 27.039997100830078, 19.140625]),
    (OrpoLoss(beta=0.1, nll=0), [0.056118011474609375, 0.08727378398180008, 0.031094534322619438]),
    (SimpoLoss(beta=2, gamma=1), [0.9740769863128662, 1.7839006185531616, 0.38687101006507874]),
    (SimpoLoss(label_smoothing=0.1), [0.9240769743919373, 1.6239005327224731, 0.4618709981441498]),
]
TRL_KTO = 0.5849414467811584


def scores(total: Tensor, tokens: list[int]) -> SequenceScores:
    return SequenceScores(total, torch.tensor(tokens), -total / torch.tensor(tokens))


def scored(
    chosen: Tensor | None = None, rejected: Tensor | None = None, dtype: torch.dtype = torch.float32
) -> ScoredPairs:
    return ScoredPairs(
        scores(torch.tensor(CHOSEN, dtype=dtype) if chosen is None else chosen, CHOSEN_TOKENS),
        scores(torch.tensor(REJECTED, dtype=dtype) if rejected is None else rejected, REJECTED_TOKENS),
        torch.tensor(REFERENCE_CHOSEN, dtype=dtype),
        torch.tensor(REFERENCE_REJECTED, dtype=dtype),
        KL,
    )


@pytest.mark.parametrize(("config", "expected"), TRL, ids=lambda value: getattr(value, "use", ""))
def test_the_losses_are_those_of_trl(config, expected):
    assert pair_losses(config, scored())[0].tolist() == pytest.approx(expected, rel=1e-6)


def test_kto_is_that_of_trl():
    loss = pair_losses(KtoLoss(undesirable=1.5), scored())[0]
    assert loss.mean().item() == pytest.approx(TRL_KTO, rel=1e-6)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def odds(mean: float) -> float:
    return math.exp(mean) / (1 - math.exp(mean))


def paper(config: Any, pair: int) -> float:
    """Write a pair's loss out as its paper does, with plain floats and products of probabilities."""
    chosen, rejected = CHOSEN[pair], REJECTED[pair]
    c, r = chosen - REFERENCE_CHOSEN[pair], rejected - REFERENCE_REJECTED[pair]
    chosen_mean, rejected_mean = chosen / CHOSEN_TOKENS[pair], rejected / REJECTED_TOKENS[pair]
    nll = config.nll * -chosen_mean
    if getattr(config, "length_normalise", False):
        c, r = c / CHOSEN_TOKENS[pair], r / REJECTED_TOKENS[pair]
    if config.use == "dpo":
        p = sigmoid(config.beta * (c - r))
        return nll - (1 - config.label_smoothing) * math.log(p) - config.label_smoothing * math.log(1 - p)
    if config.use == "ipo":
        return nll + ((c - r) - 1 / (2 * config.beta)) ** 2
    if config.use == "kto":
        good = config.desirable - config.desirable * sigmoid(config.beta * (c - KL))
        return nll + (good + config.undesirable - config.undesirable * sigmoid(config.beta * (KL - r))) / 2
    if config.use == "orpo":
        return nll - config.beta * math.log(sigmoid(math.log(odds(chosen_mean) / odds(rejected_mean))))
    p = sigmoid(config.beta * chosen_mean - config.beta * rejected_mean - config.gamma)
    return nll - (1 - config.label_smoothing) * math.log(p) - config.label_smoothing * math.log(1 - p)


EVERY_LOSS = [
    DpoLoss(),
    DpoLoss(beta=5, length_normalise=True, label_smoothing=0.1),
    DpoLoss(nll=0.2),
    IpoLoss(),
    IpoLoss(length_normalise=False, beta=0.3, nll=0.5),
    KtoLoss(),
    KtoLoss(desirable=1.33, undesirable=0.7, beta=0.5),
    OrpoLoss(),
    SimpoLoss(),
    SimpoLoss(gamma=0.3, beta=2.5, label_smoothing=0.2, nll=0.1),
]


@pytest.mark.parametrize("config", EVERY_LOSS, ids=repr)
def test_the_losses_are_those_of_the_papers(config):
    loss = pair_losses(config, scored(dtype=torch.float64))[0].tolist()
    assert loss == pytest.approx([paper(config, pair) for pair in range(3)], rel=1e-12)


@pytest.mark.parametrize("config", EVERY_LOSS, ids=repr)
def test_gradients_are_those_of_finite_differences(config):
    def total(chosen: Tensor, rejected: Tensor) -> Tensor:
        return pair_losses(config, scored(chosen, rejected, torch.float64))[0]

    inputs = [torch.tensor(values, dtype=torch.float64, requires_grad=True) for values in (CHOSEN, REJECTED)]
    assert torch.autograd.gradcheck(total, inputs)


@pytest.mark.parametrize(
    "config", [DpoLoss(), KtoLoss(), OrpoLoss(), SimpoLoss(), IpoLoss()], ids=lambda each: each.use
)
def test_a_step_down_the_gradient_raises_the_margin(config):
    chosen, rejected = (torch.tensor(values, requires_grad=True) for values in (CHOSEN, REJECTED))
    loss, before = pair_losses(config, scored(chosen, rejected))
    loss.sum().backward()
    assert chosen.grad is not None
    assert rejected.grad is not None
    after = pair_losses(config, scored(chosen.detach() - 0.1 * chosen.grad, rejected.detach() - 0.1 * rejected.grad))[1]
    assert (after > before).all()


def test_dpo_by_hand_and_as_the_core_has_it():
    # Changes +1 and -0.5: margin 0.1 * 1.5.
    loss, margin = pair_losses(DpoLoss(), scored())
    assert margin[0].item() == pytest.approx(0.15)
    assert loss[0].item() == pytest.approx(math.log1p(math.exp(-0.15)))
    parts = [torch.tensor(values) for values in (CHOSEN, REJECTED, REFERENCE_CHOSEN, REFERENCE_REJECTED)]
    assert torch.allclose(loss, dpo_loss(*parts, beta=0.1))


def test_ipo_by_hand_is_zero_at_its_target():
    assert ipo_loss(torch.tensor([3.0, 5.0]), torch.tensor([1.0, 0.0]), beta=0.25).tolist() == [0.0, 9.0]


def test_kto_by_hand():
    # A chosen completion that changed as much as the policy did on average is worth one half.
    loss = kto_loss(torch.tensor([2.0]), torch.tensor([2.0]), torch.tensor(2.0), beta=0.1, desirable=1, undesirable=3)
    assert loss.item() == pytest.approx((0.5 + 1.5) / 2)


def test_odds_by_hand():
    chosen, rejected = torch.tensor([0.8]).log(), torch.tensor([0.2]).log()
    assert log_odds_ratio(chosen, rejected).item() == pytest.approx(math.log(4 / 0.25), rel=1e-5)


def test_odds_of_a_certain_completion_have_a_finite_gradient():
    chosen, rejected = torch.zeros(2, requires_grad=True), torch.tensor([-1e-9, -60.0], requires_grad=True)
    (-smoothed_logistic(log_odds_ratio(chosen, rejected))).sum().backward()
    assert chosen.grad is not None
    assert rejected.grad is not None
    assert torch.isfinite(torch.cat([chosen.grad, rejected.grad])).all()


def test_smoothed_labels_make_a_margin_too_large_costly():
    loss: Callable[[float], float] = lambda margin: smoothed_logistic(torch.tensor(margin), 0.1).item()  # noqa: E731 : a name for three calls
    best = math.log(9)  # where sigmoid(margin) is 0.9
    assert loss(best) < min(loss(best - 0.5), loss(best + 0.5))


def test_every_pair_counts_its_own_tokens_in_the_nll():
    plain, with_nll = (pair_losses(DpoLoss(nll=weight), scored())[0] for weight in (0.0, 0.2))
    assert (with_nll - plain).tolist() == pytest.approx([0.2 * 2.0, 0.2 * 2.5, 0.2 * 1.625])


def test_a_loss_is_named_alone_or_with_its_options():
    read = TypeAdapter(PreferenceLoss).validate_python
    assert read("ipo") == IpoLoss()
    assert read({"use": "simpo", "gamma": 0.3}) == SimpoLoss(gamma=0.3)
    assert read({"beta": 5}) == DpoLoss(beta=5)
    for wrong in ("dpoo", {"use": "dpo", "gamma": 1}, {"use": "orpo", "desirable": 2}, {"label_smoothing": 0.5}):
        with pytest.raises(ValidationError):
            read(wrong)


def test_formatting_tokens_are_the_special_ones_and_those_named():
    tokenizer = toy_model().tokenizer
    assert formatting_ids(DpoLoss(), tokenizer).tolist() == []
    found = formatting_ids(DpoLoss(mask_formatting=True, formatting_tokens=["="]), tokenizer).tolist()
    assert {tokenizer.decode([token]) for token in found} == {"<pad>", "<eos>", "="}
    with pytest.raises(ValueError, match="'Z'"):
        formatting_ids(DpoLoss(formatting_tokens=["Z"]), tokenizer)
