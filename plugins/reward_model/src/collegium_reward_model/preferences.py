"""Rankings as token sequences: gathered, encoded, split by prompt, and told apart by length alone.

Shapes: ``K`` completions of a prompt, ``P`` pairs.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from collegium import DataError
from collegium.kinds.data_files import locate
from collegium.training.context import StageContext
from collegium.training.seeds import derive
from collegium.training.tokenizers import can_encode, encode_completion, encode_prompt
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
    rankings = read(context, model, config)
    if not rankings:
        raise DataError(
            f"stage {context.job.id!r} has no preference to learn", fix="give data: [FILE] or data_from: STAGE",
            owner=OWNER,
        )  # fmt: skip
    context.refuse_held_out([each.prompt_text for each in rankings], "the preferences")
    train, heldout = split_by_prompt(rankings, config.heldout, derive(context.seed, context.job.id, "heldout"))
    return [encode(model, each, config) for each in train], [encode(model, each, config) for each in heldout]


def read(context: StageContext, model: RewardModel, config: RewardModelConfig) -> list[Ranking]:
    """Return the rankings of the files and of earlier stages that the model can learn from, at most `limit` of each.

    Those in which two completions are equal are left out, and as the options say those that do not fit.
    """
    files = [(locate(name), config.prompt_fields) for name in config.data]
    files += [(Path(folder), ["prompt"]) for folder in context.inputs("data_from")]
    rankings: list[Ranking] = []
    for file, fields in files:
        found = read_rankings(file, prompt_fields=fields, margins=config.margins)
        kept = _usable(context, file, found, model, config)
        if config.limit is not None and len(kept) > config.limit:
            rng = random.Random(derive(context.seed, context.job.id, "limit", file.name))
            kept = [kept[index] for index in sorted(rng.sample(range(len(kept)), config.limit))]
        rankings += kept
    return rankings


def _usable(
    context: StageContext, file: Path, found: Sequence[Ranking], model: RewardModel, config: RewardModelConfig
) -> list[Ranking]:
    """Leave out what cannot be learnt from, and say how much that is and why."""

    def leave_out(why: str, stays: Callable[[Ranking], bool], rankings: Sequence[Ranking]) -> list[Ranking]:
        kept = [each for each in rankings if stays(each)]
        if len(kept) < len(rankings):
            context.message(
                f"{file.name}: {len(rankings) - len(kept)} of {len(rankings)} rankings {why} and are left out"
            )
        return kept

    kept = leave_out("have two equal completions", lambda each: each.prefers, found)
    if config.unencodable == "drop":
        kept = leave_out(
            "have characters without a token",
            lambda each: can_encode(model.tokenizer, each.prompt, *each.completions),
            kept,
        )
    if config.too_long == "drop":
        most = _most_tokens(model, config)
        kept = leave_out(f"are longer than {most} tokens", lambda each: _longest(model, each) <= most, kept)
    return kept


def _most_tokens(model: RewardModel, config: RewardModelConfig) -> float:
    return min(limit for limit in (config.max_tokens, model.context_length, math.inf) if limit is not None)


def _longest(model: RewardModel, ranking: Ranking) -> int:
    prompt = len(encode_prompt(model.tokenizer, ranking.prompt))
    return prompt + max(len(encode_completion(model.tokenizer, text)) for text in ranking.completions)


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
    if config.max_tokens is not None and (longest := _longest(model, ranking)) > config.max_tokens:
        raise DataError(
            f"{ranking.name}: prompt and completion are {longest} tokens, more than max_tokens {config.max_tokens}",
            fix="raise max_tokens, or leave such rankings out with too_long: drop",
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
