"""Divergences: values by hand, gradients against autograd on full distributions."""

import math

import pytest
import torch

from collegium.training.divergence import corrected_k3, exact_reverse_kl, k1, k2, k3, topk_reverse_kl

VOCABULARY = 7


def distribution(seed, size=VOCABULARY):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def reverse_kl(logits, log_q):
    log_p = logits.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def expected_gradient(logits, weights, estimator):
    """Gradient of the estimator, averaged exactly over the vocabulary with the given (fixed) weights."""
    per_token = estimator(logits.log_softmax(-1))
    return torch.autograd.grad((weights.detach() * per_token).sum(), logits)[0]


@pytest.fixture
def toy():
    logits = distribution(1).requires_grad_()
    log_q = distribution(2).log_softmax(-1)
    return logits, log_q


def test_estimators_by_hand():
    current, reference = torch.tensor(math.log(0.5)), torch.tensor(math.log(0.25))
    assert k1(current, reference).item() == pytest.approx(math.log(2))
    assert k2(current, reference).item() == pytest.approx(math.log(2) ** 2 / 2)
    assert k3(current, reference).item() == pytest.approx(0.5 + math.log(2) - 1)
    old = torch.tensor(math.log(0.4))
    assert corrected_k3(current, reference, old).item() == pytest.approx(1.25 * (0.5 + math.log(2) - 1))


def test_k1_and_k3_average_to_the_reverse_kl(toy):
    logits, log_q = toy
    log_p = logits.log_softmax(-1).detach()
    for estimator in (k1, k3):
        average = (log_p.exp() * estimator(log_p, log_q)).sum()
        torch.testing.assert_close(average, reverse_kl(logits, log_q).detach())


def test_k1_in_a_loss_has_no_expected_gradient(toy):
    logits, log_q = toy
    gradient = expected_gradient(logits, logits.softmax(-1), lambda log_p: k1(log_p, log_q))
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)


def test_k2_in_a_loss_has_the_reverse_kl_gradient_on_policy(toy):
    logits, log_q = toy
    gradient = expected_gradient(logits, logits.softmax(-1), lambda log_p: k2(log_p, log_q))
    torch.testing.assert_close(gradient, torch.autograd.grad(reverse_kl(logits, log_q), logits)[0])


def test_k3_in_a_loss_has_the_forward_kl_gradient_on_policy(toy):
    logits, log_q = toy
    gradient = expected_gradient(logits, logits.softmax(-1), lambda log_p: k3(log_p, log_q))
    forward_kl = (log_q.exp() * (log_q - logits.log_softmax(-1))).sum()
    torch.testing.assert_close(gradient, torch.autograd.grad(forward_kl, logits)[0])
    wrong = torch.autograd.grad(reverse_kl(logits, log_q), logits)[0]
    assert not torch.allclose(gradient, wrong, atol=1e-2)


def test_corrected_k3_has_the_reverse_kl_gradient_off_policy(toy):
    logits, log_q = toy
    old = distribution(3).log_softmax(-1)
    gradient = expected_gradient(logits, old.exp(), lambda log_p: corrected_k3(log_p, log_q, old))
    torch.testing.assert_close(gradient, torch.autograd.grad(reverse_kl(logits, log_q), logits)[0])


@pytest.fixture
def models():
    make = torch.Generator().manual_seed(11)

    def tensor(*shape):
        return torch.randn(*shape, generator=make, dtype=torch.float64)

    return tensor(10, 4).requires_grad_(), tensor(VOCABULARY, 4).requires_grad_(), tensor(10, 3), tensor(VOCABULARY, 3)


def teacher_logprobs(teacher_hidden, teacher_head, vocabulary=VOCABULARY):
    return (teacher_hidden @ teacher_head[:vocabulary].T).log_softmax(-1)


def assert_same_with_gradients(actual, expected, *leaves):
    torch.testing.assert_close(actual, expected)
    upstream = torch.linspace(-1, 2, len(actual), dtype=actual.dtype)
    ours = torch.autograd.grad((actual * upstream).sum(), leaves)
    for left, right in zip(ours, torch.autograd.grad((expected * upstream).sum(), leaves), strict=True):
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("chunk", [1, 3, 10])
def test_exact_reverse_kl_equals_the_full_computation_in_value_and_gradient(models, chunk):
    hidden, head, teacher_hidden, teacher_head = models
    actual, entropy = exact_reverse_kl(*models, chunk=chunk)
    log_p = (hidden @ head.T).log_softmax(-1)
    assert_same_with_gradients(
        actual, reverse_kl(hidden @ head.T, teacher_logprobs(teacher_hidden, teacher_head)), hidden, head
    )
    torch.testing.assert_close(entropy, -(log_p.exp() * log_p).sum(-1).detach())


def test_only_the_student_gets_a_gradient(models):
    hidden, head, teacher_hidden, teacher_head = models
    teacher_hidden.requires_grad_()
    teacher_head.requires_grad_()
    value = exact_reverse_kl(*models)[0] + topk_reverse_kl(*models, k=3)[0]
    value.sum().backward()
    assert hidden.grad is not None
    assert head.grad is not None
    assert teacher_hidden.grad is None
    assert teacher_head.grad is None


@pytest.mark.parametrize("divergence", [exact_reverse_kl, lambda *models: topk_reverse_kl(*models, k=5)])
@pytest.mark.parametrize("padded", ["student", "teacher"])
def test_padding_of_either_vocabulary_is_cut_off(models, divergence, padded):
    hidden, head, teacher_hidden, teacher_head = models
    expected, _ = divergence(*models)
    extra = torch.full((2, 4 if padded == "student" else 3), 5.0, dtype=torch.float64)
    if padded == "student":
        actual, _ = divergence(hidden, torch.cat([head, extra]), teacher_hidden, teacher_head)
    else:
        actual, _ = divergence(hidden, head, teacher_hidden, torch.cat([teacher_head, extra]))
    assert_same_with_gradients(actual, expected, hidden, head)


def test_topk_equals_the_corrected_sum_over_the_teachers_support(models):
    hidden, head, teacher_hidden, teacher_head = models
    log_q = teacher_logprobs(teacher_hidden, teacher_head)
    p, q = (hidden @ head.T).softmax(-1), log_q.exp()
    in_support = q >= q.sort(descending=True).values[:, 2:3]
    expected = ((p * (p / q).log() - p + q) * in_support).sum(-1)
    actual, _ = topk_reverse_kl(*models, k=3, chunk=4)
    assert_same_with_gradients(actual, expected, hidden, head)


def test_topk_over_the_whole_vocabulary_is_the_exact_reverse_kl(models):
    hidden, head, *_ = models
    assert_same_with_gradients(topk_reverse_kl(*models, k=VOCABULARY)[0], exact_reverse_kl(*models)[0], hidden, head)


def descend(value_of, logits, steps=4000, rate=1.0):
    for _ in range(steps):
        (gradient,) = torch.autograd.grad(value_of(logits), logits)
        logits = (logits - rate * gradient).detach().requires_grad_()
    return logits.softmax(-1).detach()


def naive_topk(logits, q, k):
    """The plain truncated sum, without the correction."""
    support = q.topk(k).indices
    p = logits.softmax(-1)[support]
    return (p * (p / q[support]).log()).sum()


def corrected_topk(logits, q, k):
    identity = torch.eye(len(q), dtype=q.dtype)
    return topk_reverse_kl(logits[None], identity, q.log()[None], identity, k=k)[0].sum()


def test_descent_on_corrected_topk_reaches_the_teacher_on_its_support_and_naive_topk_flees_it():
    q = torch.tensor([0.5, 0.3, 0.1, 0.06, 0.04], dtype=torch.float64)
    start = torch.zeros(5, dtype=torch.float64)
    reached = descend(lambda logits: corrected_topk(logits, q, 2), start.clone().requires_grad_())
    torch.testing.assert_close(reached[:2], q[:2], rtol=0, atol=1e-4)
    fled = descend(lambda logits: naive_topk(logits, q, 2), start.clone().requires_grad_())
    assert fled[:2].sum() < 0.4
    at_teacher = q.log().requires_grad_()
    assert torch.autograd.grad(naive_topk(at_teacher, q, 2), at_teacher)[0].abs().max() > 0.01
    assert torch.autograd.grad(corrected_topk(at_teacher, q, 2), at_teacher)[0].abs().max() == 0


def test_a_teacher_equal_to_the_student_gives_exactly_zero(models):
    hidden, head, *_ = models
    for divergence in (exact_reverse_kl, lambda *args: topk_reverse_kl(*args, k=3)):
        value, _ = divergence(hidden, head, hidden.detach(), head.detach())
        gradients = torch.autograd.grad(value.sum(), (hidden, head))
        assert not value.detach().any()
        assert not any(gradient.any() for gradient in gradients)


def test_a_token_impossible_for_both_adds_nothing():
    one = torch.ones(1, 1)
    head = torch.tensor([[0.0], [0.5], [-torch.inf]], requires_grad=True)
    value, entropy = exact_reverse_kl(one, head, one, torch.tensor([[0.5], [0.0], [-torch.inf]]))
    p = torch.tensor([0.0, 0.5]).softmax(-1)
    assert value.item() == pytest.approx((p * (p / p.flip(0)).log()).sum().item())
    assert entropy.item() == pytest.approx(-(p * p.log()).sum().item())
    assert torch.autograd.grad(value.sum(), head)[0].isfinite().all()


def test_rows_and_support_that_do_not_fit_are_refused(models):
    hidden, head, teacher_hidden, teacher_head = models
    with pytest.raises(ValueError, match="not the same tokens"):
        exact_reverse_kl(hidden, head, teacher_hidden[1:], teacher_head)
    with pytest.raises(ValueError, match="k must be between 1 and the shared vocabulary of 7"):
        topk_reverse_kl(*models, k=VOCABULARY + 1)
