"""The advantage of a batch: the sum of its named terms.

Shapes: ``B`` sequences, ``T`` tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from collegium.component import Use
from collegium.errors import ConfigError, PluginError
from collegium.kinds.advantage import Advantage
from collegium.training.batch import RolloutBatch
from collegium.training.context import StageContext


def build_terms(context: StageContext, uses: Sequence[Use]) -> dict[str, Advantage]:
    """Build the terms that a stage's options name.

    Raises:
        ConfigError: If one is named twice.
    """
    names = [use.use for use in uses]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"advantages names {', '.join(twice)} twice", fix="name each term once, with one weight")
    return {use.use: context.build(use, "advantage") for use in uses}


@torch.no_grad()
def sum_of_terms(terms: Mapping[str, Advantage], batch: RolloutBatch) -> tuple[Tensor, dict[str, float]]:
    """Add the terms up.

    Args:
        terms: By their component's id.
        batch: With the streams that the terms need.

    Returns:
        The sum ``[B, T]``, zero outside the completions, and each term's mean and mean absolute value as metrics.

    Raises:
        PluginError: If a term has the wrong shape or is not finite; names its component.
    """
    total = torch.zeros(batch.token_ids.shape)
    metrics: dict[str, float] = {}
    for name, term in terms.items():
        values = _checked(name, term.per_token(batch), batch)
        total += values
        trained = values[batch.completion_mask]
        short = name.rpartition("/")[2]
        metrics[f"advantage/{short}"] = float(trained.mean())
        metrics[f"advantage/{short}/abs"] = float(trained.abs().mean())
    return total, metrics


def _checked(name: str, values: Tensor, batch: RolloutBatch) -> Tensor:
    owner = name.rpartition("/")[0] or None
    if values.shape != batch.token_ids.shape:
        found, expected = list(values.shape), list(batch.token_ids.shape)
        raise PluginError(f"advantage {name!r} has shape {found}, expected {expected}", owner=owner, fix="report it")
    trained = torch.where(batch.completion_mask, values.float(), 0.0)
    if not bool(torch.isfinite(trained).all()):
        row = int((~torch.isfinite(trained)).any(dim=1).nonzero()[0])
        raise PluginError(
            f"advantage {name!r} is not finite on task {batch.samples[row].task.id!r}", owner=owner, fix="report it"
        )
    return trained
