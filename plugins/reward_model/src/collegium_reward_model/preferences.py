"""Rankings as token sequences: gathered, encoded, split by prompt, and told apart by length alone.

Shapes: ``K`` completions of a prompt, ``P`` pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from collegium import DataError
from collegium.training.context import StageContext
from collegium.training.seeds import derive
from collegium_reward_model.configs import OWNER, RewardModelConfig
from collegium_reward_model.losses import accuracy, all_pairs
from collegium_reward_model.model import RewardModel
from collegium_reward_model.rankings import Ranking, read_rankings, split_by_prompt


@dataclass(frozen=True)
class Preference:
    """One prompt's completions as tokens, best first.

    Args:
        sequences: Prompt and completion, one per completion.
        margin: By how much each pair should differ.
        name: What errors call it.
        lengths: Characters of each completion.
    """

    sequences: tuple[tuple[int, ...], ...]
    margin: float
    name: str
    lengths: tuple[int, ...]

    @cached_property
    def pairs(self) -> Tensor:
        """Every pair, ``[P, 2]``: the better and the worse."""
        return torch.tensor(all_pairs(len(self.sequences)))


def gather(
    context: StageContext, model: RewardModel, config: RewardModelConfig
) -> tuple[list[Preference], list[Preference]]:
    """Read, check and encode every ranking; return those to train on and those held out.

    Raises:
        DataError: If there are too few, one is malformed or too long, a prompt is a held-out task's, or the loss wants
            margins that a row does not have.
    """
    rankings = read(context, config)
    if not rankings:
        raise DataError(
            f"stage {context.job.id!r} has no preference to learn", fix="give data: [FILE] or data_from: STAGE",
            owner=OWNER,
        )  # fmt: skip
    context.refuse_held_out([each.prompt_text for each in rankings], "the preferences")
    train, heldout = split_by_prompt(rankings, config.heldout, derive(context.seed, context.job.id, "heldout"))
    return [encode(model, each, config) for each in train], [encode(model, each, config) for each in heldout]


def read(context: StageContext, config: RewardModelConfig) -> list[Ranking]:
    """Return the rankings of the files and of earlier stages, less those in which two completions are equal."""
    found = [
        each
        for path in config.data
        for each in read_rankings(Path(path), prompt_fields=config.prompt_fields, margins=config.margins)
    ]
    for folder in context.inputs("data_from"):
        found += read_rankings(Path(folder), margins=config.margins)
    rankings = [each for each in found if each.prefers]
    if len(rankings) < len(found):
        context.message(f"{len(found) - len(rankings)} rankings with two equal completions are left out")
    return rankings


def encode(model: RewardModel, ranking: Ranking, config: RewardModelConfig) -> Preference:
    """Encode a ranking.

    Raises:
        DataError: If it is too long, or has no margin and the loss wants one.
    """
    if config.loss == "margin" and ranking.margin is None:
        raise DataError(
            f"{ranking.name}: loss: margin needs a margin in every row, and this one has none",
            fix="give a number or a rating in words, or use loss: ranking",
            owner=OWNER,
        )
    sequences = [tuple(model.encode(ranking.prompt, text, ranking.name)) for text in ranking.completions]
    margin = (ranking.margin or 0.0) if config.loss == "margin" else 0.0
    return Preference(tuple(sequences), margin, ranking.name, tuple(map(len, ranking.completions)))


def length_accuracy(train: Sequence[Preference], heldout: Sequence[Preference]) -> float:
    """Return how well length alone tells the held-out pairs apart, in the direction that fits the training pairs."""
    longer = accuracy(_length_margins(train)) >= 0.5
    return accuracy(_length_margins(heldout) * (1 if longer else -1))


def _length_margins(preferences: Sequence[Preference]) -> Tensor:
    lengths = [(torch.tensor(each.lengths), each.pairs) for each in preferences]
    return torch.cat([length[pairs[:, 0]] - length[pairs[:, 1]] for length, pairs in lengths])
