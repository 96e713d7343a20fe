"""Generation: prompts to checked generations to completions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from transformers import PreTrainedTokenizerBase

from collegium.errors import EngineError
from collegium.kinds.engine import Engine, Generation, SamplingParams
from collegium.task import Completion, Turn, transcript
from collegium.training.tokenizers import decode_completion


def generate(
    engine: Engine,
    prompts: list[list[int]],
    sampling: SamplingParams,
    seeds: Sequence[int],
    images: Sequence[tuple[bytes, ...]] | None = None,
) -> list[Generation]:
    """Generate, and check that there is one well-formed generation per prompt.

    Args:
        engine: Has the weights already.
        prompts: Token ids.
        sampling: How to sample.
        seeds: One per prompt.
        images: Each prompt's pictures; None where no prompt has any.

    Raises:
        EngineError: If the engine fails, cannot be shown pictures that are there, or what it returns is malformed;
            names the engine's class.
    """
    name = type(engine).__name__
    shown = {"images": images} if images is not None and any(images) else {}
    if shown and not engine.reads_images:
        raise EngineError(
            f"{name} reads token ids alone; {sum(map(bool, shown['images']))} of {len(prompts)} prompts have pictures",
            fix="use engine: transformers in stages with pictures",
        )
    try:
        made = list(engine.generate(prompts, sampling, seeds, **shown))
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"{name} failed to generate for {len(prompts)} prompts: {error}") from error
    if len(made) != len(prompts):
        raise EngineError(f"{name} returned {len(made)} generations for {len(prompts)} prompts", fix="report it")
    for index, each in enumerate(made):
        if not each.token_ids or len(each.token_ids) != len(each.logprobs):
            found = f"{len(each.token_ids)} tokens with {len(each.logprobs)} log-probs"
            raise EngineError(
                f"{name} returned {found} for prompt {index}; expected one log-prob per token, at least one"
            )
        if not all(math.isfinite(value) for value in each.logprobs):
            raise EngineError(f"{name} returned a log-prob that is not finite for prompt {index}")
    return made


def to_completion(made: Generation, tokenizer: PreTrainedTokenizerBase, stop_ids: frozenset[int]) -> Completion:
    """Decode a generation; that of an episode turn by turn."""
    if made.sampled is None:
        text = decode_completion(tokenizer, list(made.token_ids), stop_ids)
        return Completion(text, made.finish_reason, made.token_ids)
    turns = tuple(
        Turn(decode_completion(tokenizer, ids, stop_ids if sampled else frozenset()), sampled, tuple(ids))
        for ids, sampled in _parts(made.token_ids, made.sampled, stop_ids)
    )
    return Completion(transcript(turns), made.finish_reason, made.token_ids, turns)


def _parts(
    token_ids: Sequence[int], sampled: Sequence[bool], stop_ids: frozenset[int]
) -> Iterator[tuple[list[int], bool]]:
    """Split an episode's ids where the speaker changes, and after the token that ends a turn of the model."""
    part: list[int] = []
    for index, (token, own) in enumerate(zip(token_ids, sampled, strict=True)):
        part.append(token)
        last = index + 1 == len(token_ids)
        if last or sampled[index + 1] != own or (own and token in stop_ids):
            yield part, own
            part = []
