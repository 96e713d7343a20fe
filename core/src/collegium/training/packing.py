"""Supervised examples laid out for a forward pass: packed into rows where they cannot see each other, or padded.

Both layouts give the same loss and gradient; packing wastes nothing on padding, rows of like length need no mask of
``[T, T]``. A step's examples are chosen before they are laid out, so that the layout never changes what is learnt.

Shapes: ``R`` rows, ``T`` tokens of a row, ``N`` trained tokens in row-major mask order.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from collegium.errors import DataError


@dataclass(frozen=True, slots=True)
class Example:
    """A token sequence, where its completion begins, and what of that is trained.

    Args:
        token_ids: Prompt and completion, end of sequence included.
        start: Index of the completion's first token, at least 1 (the first token has nothing to be predicted from).
        name: What errors call it, such as a task id.
        trained: Of each id from `start` on, whether it is trained; the others, an environment's, are only read. None:
            all of them.
        images: Its pictures, as PNG files in memory.
        slots: Positions of the tokens that stand for the pictures: read, never trained. `expanded` fills them in.
    """

    token_ids: tuple[int, ...]
    start: int
    name: str = ""
    trained: tuple[bool, ...] | None = None
    images: tuple[bytes, ...] = ()
    slots: tuple[int, ...] = ()

    @property
    def trained_tokens(self) -> int:
        """How many of its tokens are trained."""
        if self.trained is not None:
            return sum(self.trained)
        return len(self.token_ids) - self.start - sum(at >= self.start for at in self.slots)


@dataclass(frozen=True, slots=True)
class Rows:
    """A micro-batch of laid-out examples.

    Args:
        token_ids: ``[R, T]`` int64.
        trained: ``[R, T]`` bool.
        position_ids: ``[R, T]`` int64, from 0 in each example.
        segments: ``[R, T]`` int64, the example's number in its row from 1; 0 is padding.
        slots: ``[R, T]`` bool, the tokens that stand for pictures, in row-major order.
        images: The pictures, in that order.
    """

    token_ids: Tensor
    trained: Tensor
    position_ids: Tensor
    segments: Tensor
    slots: Tensor
    images: list[bytes]

    def attention_mask(self, dtype: torch.dtype) -> Tensor:
        """Return the mask: ``[R, T]`` if each row is one example, else block-diagonal and additive ``[R, 1, T, T]``."""
        if int(self.segments.max()) <= 1:
            return (self.segments > 0).long()
        return block_diagonal_mask(self.segments, dtype)


def block_diagonal_mask(segments: Tensor, dtype: torch.dtype) -> Tensor:
    """Let each token see those before it of its own example only.

    Args:
        segments: ``[R, T]`` int64; 0 is padding, whose tokens see themselves, so that no softmax is over nothing.
        dtype: The model's.

    Returns:
        ``[R, 1, T, T]``, 0 where seen and the dtype's lowest number elsewhere.
    """
    length = segments.shape[1]
    same = (segments[:, :, None] == segments[:, None, :]) & (segments[:, :, None] > 0)
    causal = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    itself = torch.eye(length, dtype=torch.bool, device=segments.device)
    seen = (same & causal) | itself
    lowest = torch.finfo(dtype).min
    return torch.zeros(seen.shape, dtype=dtype, device=segments.device).masked_fill(~seen, lowest)[:, None]


def pack(examples: Sequence[Example], row_tokens: int) -> list[list[Example]]:
    """Pack examples into rows of at most `row_tokens`, longest first, each into the first row with room.

    Raises:
        DataError: If an example is longer than a row.
    """
    rows: list[list[Example]] = []
    room: list[int] = []
    for example in sorted(examples, key=lambda each: len(each.token_ids), reverse=True):
        length = len(example.token_ids)
        check_length(example, row_tokens)
        index = next((index for index, left in enumerate(room) if left >= length), None)
        if index is None:
            rows.append([example])
            room.append(row_tokens - length)
        else:
            rows[index].append(example)
            room[index] -= length
    return rows


def check_length(example: Example, most: int) -> None:
    """Check that an example fits.

    Raises:
        DataError: If it does not; nothing is cut silently.
    """
    if len(example.token_ids) > most:
        raise DataError(
            f"example {example.name!r} has {len(example.token_ids)} tokens, more than the {most} that fit",
            fix="raise row_tokens (at most the model's context), or leave the example out",
        )


def pad(examples: Sequence[Example]) -> list[list[Example]]:
    """Give each example its own row, in order of length, so that neighbours need little padding."""
    return [[example] for example in sorted(examples, key=lambda each: len(each.token_ids))]


def lay_out(rows: Sequence[Sequence[Example]], pad_id: int) -> Rows:
    """Write rows of examples into tensors."""
    width = max(sum(len(example.token_ids) for example in row) for row in rows)
    token_ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    trained = torch.zeros(len(rows), width, dtype=torch.bool)
    positions = torch.zeros(len(rows), width, dtype=torch.long)
    segments = torch.zeros(len(rows), width, dtype=torch.long)
    slots = torch.zeros(len(rows), width, dtype=torch.bool)
    for index, row in enumerate(rows):
        at = 0
        for number, example in enumerate(row, start=1):
            end = at + len(example.token_ids)
            token_ids[index, at:end] = torch.tensor(example.token_ids)
            trained[index, at + example.start : end] = (
                True if example.trained is None else torch.tensor(example.trained)
            )
            positions[index, at:end] = torch.arange(end - at)
            segments[index, at:end] = number
            slots[index, [at + slot for slot in example.slots]] = True
            at = end
    images = [image for row in rows for example in row for image in example.images]
    return Rows(token_ids, trained & ~slots, positions, segments, slots, images)


def epoch_order(count: int, epoch: int, seed: int) -> list[int]:
    """Return the order in which an epoch goes through `count` examples."""
    order = list(range(count))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return order


def indices_of_step(step: int, batch: int, count: int, seed: int) -> list[int]:
    """Return the examples of a step (from 1): epoch after epoch, each example once per epoch.

    The position in the data follows from the step alone, so a resumed stage needs no other record of it.
    """
    first = (step - 1) * batch
    orders: dict[int, list[int]] = {}
    indices = []
    for position in range(first, first + batch):
        epoch, place = divmod(position, count)
        if epoch not in orders:
            orders[epoch] = epoch_order(count, epoch, seed)
        indices.append(orders[epoch][place])
    return indices
