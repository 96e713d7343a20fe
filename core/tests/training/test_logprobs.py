"""Chunked log-probs against the plain computation over the full logits."""

import pytest
import torch

from collegium.training.logprobs import scatter_to_tokens, token_logprobs
from collegium.training.vocabulary import entropy_of


def problem(rows=64, width=6, vocabulary=50, dtype=torch.float64):
    make = torch.Generator().manual_seed(7)
    hidden = torch.randn(rows, width, generator=make, dtype=dtype).requires_grad_()
    head = torch.randn(vocabulary, width, generator=make, dtype=dtype).requires_grad_()
    targets = torch.randint(vocabulary, (rows,), generator=make)
    upstream = torch.randn(rows, generator=make, dtype=dtype)
    return hidden, head, targets, upstream


def naive(hidden, head, targets, temperature=1.0, bias=0.0):
    logprobs = torch.log_softmax((hidden @ head.T + bias) / temperature, dim=-1)
    return logprobs[torch.arange(len(targets)), targets], -(logprobs.exp() * logprobs).sum(-1)


def gradients(values, upstream, *leaves):
    return torch.autograd.grad((values * upstream).sum(), leaves)


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_values_and_gradients_equal_those_of_the_full_logits(chunk, temperature):
    hidden, head, targets, upstream = problem()
    bias = torch.linspace(-1, 1, head.shape[0], dtype=torch.float64).requires_grad_()
    logprobs, entropy = token_logprobs(hidden, head, targets, chunk=chunk, temperature=temperature, bias=bias)
    expected, expected_entropy = naive(hidden, head, targets, temperature, bias)
    torch.testing.assert_close(logprobs, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(entropy, expected_entropy, rtol=1e-12, atol=1e-12)
    assert not entropy.requires_grad
    actual = gradients(logprobs, upstream, hidden, head, bias)
    for ours, theirs in zip(actual, gradients(expected, upstream, hidden, head, bias), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_gradients_pass_the_numerical_check():
    hidden, head, targets, _ = problem(rows=5, width=3, vocabulary=4)
    assert torch.autograd.gradcheck(lambda h, w: token_logprobs(h, w, targets, chunk=2)[0], (hidden, head))


def test_a_frozen_head_leaves_the_gradient_of_the_states_exact():
    hidden, head, targets, upstream = problem()
    frozen = head.detach()
    (ours,) = gradients(token_logprobs(hidden, frozen, targets, chunk=9)[0], upstream, hidden)
    (theirs,) = gradients(naive(hidden, frozen, targets)[0], upstream, hidden)
    torch.testing.assert_close(ours, theirs)


def test_bfloat16_states_give_float32_logprobs_of_the_models_own_logits():
    hidden, head, targets, upstream = problem(dtype=torch.bfloat16)
    logprobs, _ = token_logprobs(hidden, head, targets, chunk=16)
    logits = (hidden @ head.T).float()
    expected = logits.log_softmax(-1)[torch.arange(len(targets)), targets]
    torch.testing.assert_close(logprobs, expected)
    ours = gradients(logprobs, upstream, hidden, head)
    theirs = gradients(expected, upstream, hidden, head)
    assert [grad.dtype for grad in ours] == [torch.bfloat16, torch.bfloat16]
    for left, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(left, right, rtol=2e-2, atol=2e-2)


def test_no_rows_give_no_values_and_a_zero_gradient():
    hidden, head, _, _ = problem()
    logprobs, entropy = token_logprobs(hidden[:0], head, torch.empty(0, dtype=torch.long))
    assert logprobs.shape == entropy.shape == (0,)
    (grad,) = torch.autograd.grad(logprobs.sum(), head)
    assert not grad.any()


def test_entropy_by_hand_and_of_an_impossible_token():
    even = torch.tensor([[0.5, 0.5, 0.0]]).log()
    torch.testing.assert_close(entropy_of(even), torch.tensor([0.6931472]))


def test_bad_arguments_are_refused():
    hidden, head, targets, _ = problem()
    with pytest.raises(ValueError, match="temperature must be positive"):
        token_logprobs(hidden, head, targets, temperature=0.0)
    with pytest.raises(ValueError, match="one target per row"):
        token_logprobs(hidden, head, targets[1:])
    with pytest.raises(ValueError, match="chunk must be at least 1"):
        token_logprobs(hidden, head, targets, chunk=0)
    with pytest.raises(ValueError, match=r"expected hidden \[N, D\]"):
        token_logprobs(hidden[:, 1:], head, targets)


def test_scattered_values_stand_at_the_trained_tokens_in_row_major_order():
    mask = torch.tensor([[False, True, False, True], [True, False, False, False]])
    values = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    tokens = scatter_to_tokens(values, mask)
    assert tokens.tolist() == [[0, 1, 0, 2], [3, 0, 0, 0]]
    (grad,) = torch.autograd.grad((tokens * torch.arange(8.0).view(2, 4)).sum(), values)
    assert grad.tolist() == [1, 3, 4]
    with pytest.raises(ValueError, match="expected 3 values"):
        scatter_to_tokens(values[:2], mask)
