"""Direct preference optimisation by hand."""

import math

import pytest
import torch

from collegium.training.preference import dpo_loss, sequence_logprobs

CHOSEN = torch.tensor([[-9.0, -1.0, -2.0, -3.0]])
REJECTED = torch.tensor([[-9.0, -4.0, -2.0, -9.0]])
CHOSEN_MASK = torch.tensor([[False, True, True, True]])
REJECTED_MASK = torch.tensor([[False, True, True, False]])


def loss_of(mean, beta):
    chosen = sequence_logprobs(CHOSEN, CHOSEN_MASK, mean=mean)
    rejected = sequence_logprobs(REJECTED, REJECTED_MASK, mean=mean)
    reference_chosen = sequence_logprobs(CHOSEN - 0.5, CHOSEN_MASK, mean=mean)
    reference_rejected = sequence_logprobs(REJECTED + 0.2, REJECTED_MASK, mean=mean)
    return dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta=beta).item()


def test_sequence_logprobs_are_sums_or_means_over_trained_tokens():
    assert sequence_logprobs(CHOSEN, CHOSEN_MASK, mean=False).item() == -6.0
    assert sequence_logprobs(CHOSEN, CHOSEN_MASK, mean=True).item() == -2.0


def test_dpo_by_hand():
    # Log-ratios: +0.5 on each of 3 chosen tokens, -0.2 on each of 2 rejected ones.
    margin = 0.1 * (1.5 - -0.4)
    assert loss_of(mean=False, beta=0.1) == pytest.approx(math.log1p(math.exp(-margin)))


def test_length_normalised_dpo_by_hand():
    margin = 5 / 3 * 1.5 - 5 / 2 * -0.4
    assert loss_of(mean=True, beta=5.0) == pytest.approx(math.log1p(math.exp(-margin)))


def test_a_policy_equal_to_its_reference_pays_log_two():
    same = torch.tensor([-3.0, -70.0])
    assert dpo_loss(same, same - 1, same, same - 1, beta=5.0).tolist() == pytest.approx([math.log(2)] * 2)


def test_a_hopeless_pair_keeps_a_finite_loss():
    loss = dpo_loss(torch.tensor([-900.0]), torch.tensor([0.0]), torch.zeros(1), torch.zeros(1), beta=5.0)
    assert loss.item() == pytest.approx(4500)
