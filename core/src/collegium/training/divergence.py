"""Divergences of the policy from a reference or a teacher: per sampled token, or exact over the vocabulary.

``p`` is the policy (student), ``q`` the reference or teacher; every function estimates or gives the reverse KL
``D(p || q) = E_p[log p - log q]`` in nats, per token.

Sources: k1, k2, k3: J. Schulman, "Approximating KL divergence" (2020). Ratio-corrected k3: DeepSeek-V3.2
(arXiv 2512.02556). Full-vocabulary distillation: DeepSeek-V4 (arXiv 2606.19348, Eq. 29). Corrected top-k: MOPD
(arXiv 2606.30406).

Shapes: ``N`` trained tokens, ``D`` width, ``V`` vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from collegium.training.logprobs import CHUNK
from collegium.training.vocabulary import Rule, logits_of, over_vocabulary

MAX_LOG_RATIO = 20.0
"""Log-ratios are clamped to this size before they are exponentiated: one broken token cannot make a loss infinite."""


def k1(current: Tensor, reference: Tensor) -> Tensor:
    """Return ``log p - log q`` of the sampled tokens: unbiased as a value.

    Differentiated on samples of ``p`` its expected gradient is zero, so it belongs in the reward or the advantage, not
    in a loss.
    """
    return current - reference


def k2(current: Tensor, reference: Tensor) -> Tensor:
    """Return ``(log p - log q)^2 / 2``: biased as a value, right in its gradient.

    Differentiated on samples of ``p`` its expected gradient is that of the reverse KL.
    """
    return (current - reference).square() / 2


def k3(current: Tensor, reference: Tensor) -> Tensor:
    """Return ``q/p - log(q/p) - 1``: unbiased and non-negative as a value.

    Differentiated on samples of ``p`` its expected gradient is that of the *forward* KL ``D(q || p)``.
    """
    log_ratio = (reference - current).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return torch.expm1(log_ratio) - log_ratio


def corrected_k3(current: Tensor, reference: Tensor, old: Tensor) -> Tensor:
    """Return `k3` times ``p / p_old``: on samples of ``p_old`` its expected gradient is that of the reverse KL.

    The gradient runs through the ratio as well; that is what makes it right (DeepSeek-V3.2).
    """
    return (current - old).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp() * k3(current, reference)


def exact_reverse_kl(
    hidden: Tensor, head: Tensor, teacher_hidden: Tensor, teacher_head: Tensor, *, chunk: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """Return the reverse KL over the full vocabulary at every row, and the policy's entropy.

    Only the student gets a gradient. Where the heads differ in size by padding, both are cut to the smaller vocabulary;
    whether the shared ids mean the same tokens is the caller's to check.

    Args:
        hidden: ``[N, D]`` policy states.
        head: ``[V, D]`` policy head.
        teacher_hidden: ``[N, D_teacher]`` teacher states for the same tokens.
        teacher_head: ``[V_teacher, D_teacher]`` teacher head.
        chunk: Rows whose two sets of logits are held at once.

    Returns:
        The KL ``[N]`` and the entropy ``[N]`` (without gradient).
    """

    def rule(logits: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        log_p = logits.log_softmax(dim=-1)
        log_q = _teacher_logprobs(teacher_hidden, teacher_head, rows, logits.shape[1])
        # The gradient omits sum(p * grad log p), which is zero: teacher == student then gives exactly zero.
        return _expectation_terms(log_p, log_p.detach() - log_q).sum(dim=-1), log_p

    return _over_shared_vocabulary(rule, hidden, head, teacher_hidden, teacher_head, chunk)


def topk_reverse_kl(
    hidden: Tensor, head: Tensor, teacher_hidden: Tensor, teacher_head: Tensor, *, k: int, chunk: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """Return ``sum over the teacher's top k of [p log(p/q) - p + q]`` at every row, and the policy's entropy.

    Each summand is non-negative and zero only at ``p = q``, so that the minimum is where it should be; the plain
    truncated sum is minimal when the policy moves its mass *out of* the support. With ``k = V`` it is the reverse KL.

    Args:
        hidden: ``[N, D]`` policy states.
        head: ``[V, D]`` policy head.
        teacher_hidden: ``[N, D_teacher]`` teacher states for the same tokens.
        teacher_head: ``[V_teacher, D_teacher]`` teacher head.
        k: Size of the support, between 1 and the shared vocabulary.
        chunk: Rows whose two sets of logits are held at once.

    Returns:
        The divergence ``[N]`` and the entropy ``[N]`` (without gradient).

    Raises:
        ValueError: If `k` does not fit the shared vocabulary.
    """
    vocabulary = min(head.shape[0], teacher_head.shape[0])
    if not 1 <= k <= vocabulary:
        raise ValueError(f"k must be between 1 and the shared vocabulary of {vocabulary}, got {k}")

    def rule(logits: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        log_p_all = logits.log_softmax(dim=-1)
        log_q, support = _teacher_logprobs(teacher_hidden, teacher_head, rows, vocabulary).topk(k, dim=-1)
        log_p = log_p_all.gather(1, support)
        # d/dp [p log(p/q) - p + q] = log(p/q): the correction cancels the rest of the gradient.
        correction = log_q.exp() - log_p.detach().exp()
        return (_expectation_terms(log_p, log_p.detach() - log_q) + correction).sum(dim=-1), log_p_all

    return _over_shared_vocabulary(rule, hidden, head, teacher_hidden, teacher_head, chunk)


def _over_shared_vocabulary(
    rule: Rule, hidden: Tensor, head: Tensor, teacher_hidden: Tensor, teacher_head: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    if teacher_hidden.shape[0] != hidden.shape[0]:
        raise ValueError(
            f"student has {hidden.shape[0]} rows and teacher {teacher_hidden.shape[0]}: not the same tokens"
        )
    vocabulary = min(head.shape[0], teacher_head.shape[0])
    return over_vocabulary(rule, hidden, head[:vocabulary], chunk=chunk)


def _teacher_logprobs(hidden: Tensor, head: Tensor, rows: slice, vocabulary: int) -> Tensor:
    with torch.no_grad():
        return logits_of(hidden[rows], head[:vocabulary]).log_softmax(dim=-1)


def _expectation_terms(log_p: Tensor, log_ratio: Tensor) -> Tensor:
    """Return ``p * log_ratio``, zero where ``p`` is zero (``0 * inf`` otherwise)."""
    p = log_p.exp()
    return p * torch.where(p.detach() == 0, 0.0, log_ratio)
