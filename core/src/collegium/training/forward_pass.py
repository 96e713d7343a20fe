"""A forward pass as one module, and what reads its hidden states and head; how training keeps weights elsewhere.

Shapes: ``B`` sequences, ``T`` tokens, ``N`` trained tokens in row-major mask order, ``V`` vocabulary, ``D`` width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from collegium.training.distributed import world
from collegium.training.kept_sets import KeptSets
from collegium.training.logprobs import token_logprobs
from collegium.training.vision import Pictures, features_of, model_inputs

Reader: TypeAlias = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Last hidden states ``[B, T, D]``, LM head ``[V, D]`` and its bias ``[V]`` to a tensor."""


class ForwardPass(nn.Module):
    """A whole forward pass, as one module whose `forward` a distributed wrapper can hook.

    What is made of the hidden states and the head is made inside: where weights are split over ranks, the head is whole
    only while `forward` runs.
    """

    def __init__(self, model: PreTrainedModel, head: Callable[[], tuple[Tensor, Tensor | None]]) -> None:
        super().__init__()
        self.model = model
        self.head = head
        self.precision: torch.dtype | None = None
        """The precision of the layers, where it is not that of the weights."""
        self.blank: Tensor | None = None
        """A picture ``[1, C, H, W]`` that ranks whose rows have none look at, for the others put weights together."""

    def forward(
        self,
        reader: Reader,
        tokens: Tensor,
        attention_mask: Tensor | None,
        position_ids: Tensor | None = None,
        pictures: Pictures | None = None,
    ) -> Tensor:
        """Return what the reader makes of the last hidden states."""
        with torch.autocast(tokens.device.type, dtype=self.precision, enabled=self.precision is not None):
            output = self.model.base_model(
                **model_inputs(self.model, tokens, pictures),
                attention_mask=attention_mask,
                position_ids=position_ids,
                use_cache=False,
            )
            hidden = output.last_hidden_state
            if self.blank is not None and pictures is None and world().size > 1:
                hidden = hidden + 0.0 * features_of(self.model, self.blank.to(tokens.device)).sum()
        head, bias = self.head()
        return reader(hidden, head if self.precision is None else head.to(hidden.dtype), bias)


class Shards(Protocol):
    """Weights whose whole or precise form a training strategy has."""

    splits_weights: bool
    """Whether no rank has the whole model."""

    def full_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every weight, whole, by its name in the model; every rank must take part to the end."""

    def trained_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the weights that are trained in the same way."""

    def take(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take whole weights by name; every rank gives the same ones."""


def states_alone(hidden: Tensor, *_: Tensor | None) -> Tensor:
    """Return the states."""
    return hidden


def nothing(hidden: Tensor, head: Tensor, bias: Tensor | None) -> Tensor:
    """Return 0 that depends on every weight."""
    total = hidden.float().sum() + head.float().sum()
    return (total if bias is None else total + bias.float().sum()) * 0.0


def predicting(trained: Tensor, reader: Reader) -> Reader:
    """Narrow a reader's states from those of all tokens to those that predict the trained ones."""
    return lambda hidden, head, bias: reader(hidden[:, :-1][trained[:, 1:]], head, bias)


def logprobs_of(targets: Tensor, temperature: float = 1.0, kept: KeptSets | None = None) -> Reader:
    """Return a reader of the targets' log-probs; the arguments are those of `token_logprobs`."""
    return lambda states, head, bias: token_logprobs(
        states, head, targets, temperature=temperature, bias=bias, kept=kept
    )[0]
