"""Pairs as sequences to train on: gathered, encoded, checked, and some kept aside."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from collegium import DataError
from collegium.kinds.data_files import locate
from collegium.training.context import StageContext
from collegium.training.language_model import LanguageModel
from collegium.training.packing import Example
from collegium.training.seeds import derive
from collegium.training.supervised_data import refuse_held_out, to_example
from collegium.training.tokenizers import can_encode
from collegium_dpo.config import DpoConfig
from collegium_dpo.pairs import OWNER, Pair, read_pairs


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """A prompt with its better and its worse completion, as token ids."""

    chosen: Example
    rejected: Example

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """The prompt's ids."""
        return self.chosen.token_ids[: self.chosen.start]

    @property
    def length(self) -> int:
        """Tokens of the longer sequence."""
        return max(len(self.chosen.token_ids), len(self.rejected.token_ids))


@dataclass(frozen=True, slots=True)
class PairData:
    """The stage's pairs: those trained on, then those kept aside."""

    pairs: tuple[EncodedPair, ...]
    trained: int

    @property
    def heldout(self) -> range:
        """Indices of the pairs kept aside."""
        return range(self.trained, len(self.pairs))


def gather(context: StageContext, policy: LanguageModel, config: DpoConfig) -> PairData:
    """Read and encode every pair that the recipe names.

    Raises:
        DataError: If there is none, a file cannot be read, a pair is too long, or a prompt is a held-out task's.
    """
    files = [*map(locate, config.data), *map(Path, context.inputs("data_from"))]
    encoded = [pair for file in files for pair in _from_file(context, policy, config, file)]
    refuse_held_out(policy.tokenizer, [pair.chosen for pair in encoded], context.held_out_tasks, "the pairs")
    if not encoded:
        raise DataError(
            f"stage {context.job.id!r} has no pair to train on", fix="give data: FILE, or data_from: STAGE", owner=OWNER
        )
    return keep_aside(encoded, config.heldout, derive(context.seed, context.job.id, "heldout"))


def encode(tokenizer: PreTrainedTokenizerBase, pair: Pair) -> EncodedPair:
    """Encode a pair; both completions end with end of sequence."""
    return EncodedPair(
        to_example(tokenizer, pair.prompt, pair.chosen, pair.name),
        to_example(tokenizer, pair.prompt, pair.rejected, pair.name),
    )


def keep_aside(pairs: Sequence[EncodedPair], count: int, seed: int) -> PairData:
    """Keep aside at least `count` pairs, whole prompts at a time, so that no prompt is on both sides.

    Raises:
        DataError: If nothing is left to train on.
    """
    prompts = sorted({pair.prompt_ids for pair in pairs})
    random.Random(seed).shuffle(prompts)
    by_prompt: dict[tuple[int, ...], list[EncodedPair]] = {}
    for pair in pairs:
        by_prompt.setdefault(pair.prompt_ids, []).append(pair)
    aside: list[EncodedPair] = []
    while len(aside) < count and prompts:
        aside += by_prompt.pop(prompts.pop())
    trained = [pair for pair in pairs if pair.prompt_ids in by_prompt]
    if not trained:
        raise DataError(
            f"heldout {count} leaves none of the {len(pairs)} pairs to train on",
            fix="keep fewer aside, or give more pairs of different prompts",
            owner=OWNER,
        )
    return PairData((*trained, *aside), len(trained))


def unrelated(pairs: Sequence[EncodedPair], max_tokens: int) -> list[Example]:
    """Return each pair's prompt with a completion of the next pair that has another prompt: now a better, now a worse.

    They only estimate a divergence, so one that would be too long is cut.

    Raises:
        DataError: If all pairs have one prompt.
    """
    partners = list(range(len(pairs)))
    following = 0
    for index in reversed(range(2 * len(pairs))):  # twice around, as the last pairs' partners are the first
        here, after = index % len(pairs), (index + 1) % len(pairs)
        if pairs[here].prompt_ids != pairs[after].prompt_ids:
            following = after
        partners[here] = following
    if any(pairs[index].prompt_ids == pairs[partner].prompt_ids for index, partner in enumerate(partners)):
        raise DataError(
            "kto estimates the divergence on completions of other prompts, and all pairs have one prompt",
            fix="give pairs of several prompts, or use another loss",
            owner=OWNER,
        )
    made = []
    for index, pair in enumerate(pairs):
        partner = pairs[partners[index]]
        other = partner.rejected if index % 2 else partner.chosen
        ids = (*pair.prompt_ids, *other.token_ids[other.start :])
        made.append(Example(ids[:max_tokens], pair.chosen.start, pair.chosen.name))
    return made


def _from_file(context: StageContext, policy: LanguageModel, config: DpoConfig, file: Path) -> list[EncodedPair]:
    """Return a file's pairs that prefer something and fit, at most `limit`, in the file's order."""
    different = _different(context, file, read_pairs(file))
    if config.unencodable == "drop":
        different = _encodable(context, file, different, policy)
    fitting = _fitting(context, file, [encode(policy.tokenizer, pair) for pair in different], policy, config)
    if config.limit is None or len(fitting) <= config.limit:
        return fitting
    rng = random.Random(derive(context.seed, context.job.id, "limit", file.name))
    return [fitting[index] for index in sorted(rng.sample(range(len(fitting)), config.limit))]


def _different(context: StageContext, file: Path, pairs: Sequence[Pair]) -> list[Pair]:
    """Leave out pairs whose completions are the same text: they prefer nothing."""
    kept = [pair for pair in pairs if pair.chosen != pair.rejected]
    if len(kept) < len(pairs):
        context.message(f"{file.name}: {len(pairs) - len(kept)} pairs with two equal completions are left out")
    return kept


def _encodable(context: StageContext, file: Path, pairs: Sequence[Pair], policy: LanguageModel) -> list[Pair]:
    """Leave out pairs with characters that the tokenizer does not have."""
    kept = [pair for pair in pairs if can_encode(policy.tokenizer, pair.prompt, pair.chosen, pair.rejected)]
    if len(kept) < len(pairs):
        context.message(
            f"{file.name}: {len(pairs) - len(kept)} of {len(pairs)} pairs have characters without a token and are left "
            "out"
        )
    return kept


def _fitting(
    context: StageContext, file: Path, pairs: Sequence[EncodedPair], policy: LanguageModel, config: DpoConfig
) -> list[EncodedPair]:
    """Refuse or leave out pairs that are too long."""
    most = min(config.max_tokens, policy.context_length or config.max_tokens)
    kept = [pair for pair in pairs if pair.length <= most]
    if len(kept) == len(pairs):
        return kept
    if config.too_long == "refuse":
        first = next(pair for pair in pairs if pair.length > most)
        raise DataError(
            f"{file.name}: {len(pairs) - len(kept)} of {len(pairs)} pairs are longer than the {most} tokens that fit, "
            f"the first is {first.chosen.name!r} with {first.length}",
            fix="raise max_tokens (at most the model's context), or leave them out with too_long: drop",
            owner=OWNER,
        )
    context.message(
        f"{file.name}: {len(pairs) - len(kept)} of {len(pairs)} pairs are longer than {most} tokens and left out"
    )
    return kept
