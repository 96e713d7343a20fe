"""Log-probs and entropy of given tokens, straight from hidden states, in chunks over tokens.

Shapes: ``B`` sequences, ``T`` tokens, ``N`` trained tokens (row-major mask order), ``D`` width, ``V`` vocabulary.
"""

from __future__ import annotations

from torch import Tensor

from collegium.training.kept_sets import KeptSets
from collegium.training.vocabulary import Rule, over_vocabulary

CHUNK = 1024
"""Tokens whose logits are held at once: 0.6 GB of float32 at a vocabulary of 150,000."""


def token_logprobs(
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    *,
    chunk: int = CHUNK,
    temperature: float = 1.0,
    bias: Tensor | None = None,
    kept: KeptSets | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the log-prob of each target and the entropy of the distribution it was drawn from, in nats.

    The logits ``[N, V]`` are never held at once, neither here nor in the backward pass.

    Args:
        hidden: ``[N, D]`` states that predict the targets; gets an exact gradient.
        head: ``[V, D]`` the LM head; gets an exact gradient.
        targets: ``[N]`` int64 token ids.
        chunk: Rows whose logits are held at once.
        temperature: Divides the logits; positive. The entropy is that of the tempered distribution.
        bias: ``[V]`` bias of the head.
        kept: The ids that each target was drawn from; the distribution is over them, and logits of others get a
            gradient of exactly 0. Default: all.

    Returns:
        Log-probs ``[N]`` and entropies ``[N]`` (without gradient), in at least float32.

    Raises:
        ValueError: If the shapes do not fit or the temperature is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}; greedy decoding has no log-probs")
    if targets.shape != hidden.shape[:1]:
        raise ValueError(f"expected one target per row of hidden {list(hidden.shape)}, got {list(targets.shape)}")

    rule = _over_all(targets, temperature) if kept is None else _over_kept(targets, temperature, kept)
    return over_vocabulary(rule, hidden, head, chunk=chunk, bias=bias)


def _over_all(targets: Tensor, temperature: float) -> Rule:
    def rule(logits: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        logprobs = (logits if temperature == 1 else logits / temperature).log_softmax(dim=-1)
        return logprobs.gather(1, targets[rows, None]).squeeze(1), logprobs

    return rule


def _over_kept(targets: Tensor, temperature: float, kept: KeptSets) -> Rule:
    def rule(logits: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        ids, valid = kept.padded(rows)
        own = (logits.gather(1, ids) / temperature).masked_fill(~valid, float("-inf"))
        total = own.logsumexp(dim=-1)
        return logits.gather(1, targets[rows, None]).squeeze(1) / temperature - total, own - total[:, None]

    return rule


def scatter_to_tokens(values: Tensor, mask: Tensor) -> Tensor:
    """Put one value per trained token ``[N]`` back at its place in ``[B, T]``; zero elsewhere.

    Raises:
        ValueError: If the number of values is not the number of trained tokens.
    """
    trained = int(mask.sum())
    if values.shape != (trained,):
        raise ValueError(f"expected {trained} values, one per trained token, got shape {list(values.shape)}")
    return values.new_zeros(mask.shape).masked_scatter(mask, values)
