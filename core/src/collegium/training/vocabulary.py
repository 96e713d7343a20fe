"""Row-wise functions of the logits that never hold the logits of a batch.

A *rule* maps the logits of a chunk of rows to one number per row. `over_vocabulary` applies it chunk by chunk, and
again in the backward pass, where each chunk's logits are made anew: the largest temporaries are a few ``[chunk, V]``.

Shapes: ``N`` rows, ``C`` rows of a chunk, ``D`` width, ``V`` vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Rule: TypeAlias = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
"""``logits [C, V], rows -> (value [C], log-probs [C, ...])``; only the value is differentiated. The log-probs are those
of all tokens that have a probability, and padding of minus infinity."""


def over_vocabulary(
    rule: Rule, hidden: Tensor, head: Tensor, *, chunk: int, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Apply a rule to the logits ``hidden @ head.T + bias``, `chunk` rows at a time.

    Args:
        rule: What to compute; called once in the forward pass and once in the backward pass per chunk.
        hidden: ``[N, D]``; gets a gradient.
        head: ``[V, D]``; gets a gradient, summed over chunks in at least float32.
        chunk: Rows whose logits are held at once, at least 1.
        bias: ``[V]`` bias of the head; gets a gradient.

    Returns:
        The values ``[N]``, and the entropy of the distribution at every row ``[N]`` (nats, without gradient), both in
        at least float32.

    Raises:
        ValueError: If `chunk` is not positive or the widths differ.
    """
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1 row, got {chunk}")
    if hidden.ndim != 2 or head.ndim != 2 or hidden.shape[1] != head.shape[1]:
        raise ValueError(f"expected hidden [N, D] and head [V, D], got {list(hidden.shape)} and {list(head.shape)}")
    values, entropies = _OverVocabulary.apply(hidden, head, bias, rule, chunk)  # type: ignore[no-untyped-call]
    return values, entropies


def logits_of(hidden: Tensor, head: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the logits of some rows in at least float32, multiplied in the head's own precision as the model does."""
    logits = hidden.to(head.dtype) @ head.T
    if bias is not None:
        logits = logits + bias
    return logits.to(_wide(logits.dtype))


def entropy_of(logprobs: Tensor) -> Tensor:
    """Return the entropy over the last dimension, in nats; a token of probability 0 adds nothing."""
    finite = logprobs.clamp(min=torch.finfo(logprobs.dtype).min)
    negative: Tensor = torch.linalg.vecdot(logprobs.exp(), finite)
    return -negative


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _chunks(count: int, chunk: int) -> Iterator[slice]:
    for start in range(0, count, chunk):
        yield slice(start, min(start + chunk, count))


class _OverVocabulary(torch.autograd.Function):
    """`over_vocabulary` with a backward pass that recomputes each chunk."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, bias: Tensor | None, rule: Rule, chunk: int
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(hidden, head, bias)
        ctx.rule, ctx.chunk = rule, chunk
        values = torch.empty(hidden.shape[0], dtype=_wide(head.dtype), device=hidden.device)
        entropies = torch.empty_like(values)
        for rows in _chunks(hidden.shape[0], chunk):
            values[rows], logprobs = rule(logits_of(hidden[rows], head, bias), rows)
            entropies[rows] = entropy_of(logprobs)
        ctx.mark_non_differentiable(entropies)
        return values, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_values: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden, head, bias = ctx.saved_tensors
        needs_hidden, needs_head, needs_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.zeros_like(hidden) if needs_hidden else None
        grad_head = torch.zeros_like(head, dtype=_wide(head.dtype)) if needs_head else None
        grad_bias = torch.zeros_like(bias, dtype=_wide(bias.dtype)) if needs_bias else None
        for rows in _chunks(hidden.shape[0], ctx.chunk):
            grad_logits = _grad_of_rule(ctx.rule, logits_of(hidden[rows], head, bias), rows, grad_values[rows])
            narrow = grad_logits.to(head.dtype)
            if grad_hidden is not None:
                grad_hidden[rows] = (narrow @ head).to(hidden.dtype)
            if grad_head is not None:
                grad_head += narrow.T @ hidden[rows].to(head.dtype)
            if grad_bias is not None:
                grad_bias += grad_logits.sum(0)
        return (
            grad_hidden,
            None if grad_head is None else grad_head.to(head.dtype),
            None if grad_bias is None else grad_bias.to(bias.dtype),
            None,
            None,
        )


def _grad_of_rule(rule: Rule, logits: Tensor, rows: slice, grad_values: Tensor) -> Tensor:
    with torch.enable_grad():
        value, _ = rule(logits.requires_grad_(), rows)
    (grad_logits,) = torch.autograd.grad(value, logits, grad_values)
    return grad_logits
