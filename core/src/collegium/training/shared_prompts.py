"""Rollouts of one prompt laid out as one row: the prompt once, its completions side by side, blind to each other.

With groups of ``G`` completions a forward pass then costs ``prompt + G * completion`` tokens, not
``G * (prompt + completion)``; states and gradients are the same.

Shapes: ``B`` sequences, ``T`` tokens, ``N`` trained tokens in row-major mask order, ``R`` shared rows of ``S`` tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from collegium.training.batch import RolloutBatch

LONGEST_ROW = 2048
"""Most tokens of a row, whose mask has their square."""


@dataclass(frozen=True, slots=True)
class SharedRows:
    """Sequences of a batch laid out by their prompts.

    Args:
        token_ids: ``[R, S]`` int64.
        position_ids: ``[R, S]`` int64; every completion goes on from its prompt.
        segments: ``[R, S]`` int64: 0 is the prompt, the completions count from 1, padding is -1.
        predictors: ``[N]`` int64, the flat index into ``[R, S]`` of the token before each trained token.
        images: Each row's pictures, which its prompt shows.
    """

    token_ids: Tensor
    position_ids: Tensor
    segments: Tensor
    predictors: Tensor
    images: list[tuple[bytes, ...]]

    def attention_mask(self, dtype: torch.dtype) -> Tensor:
        """Let each token see those before it of its prompt and of its own completion: additive ``[R, 1, S, S]``."""
        length = self.segments.shape[1]
        own = self.segments[:, :, None] == self.segments[:, None, :]
        prompt = (self.segments[:, None, :] == 0) & (self.segments[:, :, None] >= 0)
        causal = torch.ones(length, length, dtype=torch.bool, device=self.segments.device).tril()
        # Padding is a segment of its own, so that no softmax is over nothing.
        hidden = ~((own | prompt) & causal)
        mask = torch.zeros(hidden.shape, dtype=dtype, device=self.segments.device)
        return mask.masked_fill(hidden, torch.finfo(dtype).min)[:, None]


def cost(rows: int, tokens: int, model_width: int) -> float:
    """Return the cost of a forward pass over ``[rows, tokens]``, in tokens through the linear layers.

    A layer multiplies some ``12 D^2`` weights with each token and ``2 D`` numbers with each pair of tokens; masked
    attention runs at about a third of a matrix product's speed, so that ``2 D`` pairs cost as much as a token.
    """
    return rows * tokens * (1 + tokens / (2 * model_width))


def share_prompts(batch: RolloutBatch, model_width: int) -> SharedRows | None:
    """Lay the batch out by prompts; None where that would not be cheaper.

    Args:
        batch: The sequences.
        model_width: ``D``.
    """
    lengths = batch.attention_mask.sum(dim=1).tolist()
    starts = batch.completion_mask.int().argmax(dim=1).tolist()
    tokens = [row[:length] for row, length in zip(batch.token_ids.tolist(), lengths, strict=True)]
    families: dict[tuple[tuple[int, ...], tuple[bytes, ...]], list[int]] = {}
    for row, (ids, start, images) in enumerate(zip(tokens, starts, batch.images, strict=True)):
        families.setdefault((tuple(ids[:start]), images), []).append(row)
    widths = [len(prompt) + sum(lengths[row] - len(prompt) for row in rows) for (prompt, _), rows in families.items()]
    width = max(widths)
    count, longest = batch.token_ids.shape
    if width > LONGEST_ROW or cost(len(families), width, model_width) >= cost(count, longest, model_width):
        return None
    token_ids = torch.zeros(len(families), width, dtype=torch.long)
    position_ids = torch.zeros(len(families), width, dtype=torch.long)
    segments = torch.full((len(families), width), -1, dtype=torch.long)
    before = torch.zeros(batch.token_ids.shape, dtype=torch.long)
    for index, ((prompt, _), rows) in enumerate(families.items()):
        at = len(prompt)
        token_ids[index, :at] = torch.tensor(prompt)
        position_ids[index, :at] = torch.arange(at)
        segments[index, :at] = 0
        for number, row in enumerate(rows, start=1):
            end = at + lengths[row] - len(prompt)
            token_ids[index, at:end] = torch.tensor(tokens[row][len(prompt) :])
            position_ids[index, at:end] = torch.arange(len(prompt), lengths[row])
            segments[index, at:end] = number
            before[row, len(prompt) : lengths[row]] = index * width + torch.arange(at - 1, end - 1)
            before[row, len(prompt)] = index * width + len(prompt) - 1
            at = end
    device = batch.token_ids.device
    predictors = before.to(device)[batch.completion_mask]
    shown = [images for _, images in families]
    return SharedRows(token_ids.to(device), position_ids.to(device), segments.to(device), predictors, shown)
