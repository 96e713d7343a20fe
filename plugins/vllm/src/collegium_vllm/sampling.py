"""Requests and answers: what is asked of vLLM for one prompt, and what makes an answer a `Generation`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from collegium import Generation, SamplingParams
from collegium_vllm.errors import engine_error

LOWEST_TEMPERATURE = 0.01
"""Below it, other than 0, vLLM samples at this temperature instead."""


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to complete.

    Args:
        prompt: Its token ids.
        sampling: How to sample.
        seed: Of this prompt alone.
        stop_ids: Ids that end the completion and are kept as its last token.
    """

    prompt: tuple[int, ...]
    sampling: SamplingParams
    seed: int
    stop_ids: tuple[int, ...]

    def parameters(self) -> dict[str, object]:
        """Return vLLM's sampling parameters; each that a server might set otherwise is said."""
        return {
            "max_tokens": self.sampling.max_tokens,
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "seed": self.seed,
            "stop_token_ids": list(self.stop_ids),
            "ignore_eos": True,  # what ends a completion are the policy's stop ids, and nothing else
            "logprobs": 0,
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What vLLM returned for one prompt, not yet checked."""

    token_ids: Sequence[int]
    logprobs: Sequence[float]
    finish_reason: str | None


def check_requests(prompts: Sequence[Sequence[int]], sampling: SamplingParams, seeds: Sequence[int], room: int) -> None:
    """Check that every prompt can be completed as asked.

    Args:
        prompts: Token ids.
        sampling: How to sample.
        seeds: One per prompt.
        room: Most tokens of prompt and completion.

    Raises:
        EngineError: If one cannot.
    """
    if len(seeds) != len(prompts):
        raise engine_error(f"{len(prompts)} prompts come with {len(seeds)} seeds", fix="give one seed per prompt")
    empty = [index for index, prompt in enumerate(prompts) if not len(prompt)]
    if empty:
        raise engine_error(f"prompts {empty[:5]} have no token", fix="give each task a prompt")
    longest = max(map(len, prompts), default=0)
    if longest + sampling.max_tokens > room:
        raise engine_error(
            f"a prompt of {longest} tokens and {sampling.max_tokens} sampled ones exceed the context of {room}",
            fix="lower sampling.max_tokens, shorten the prompts, or raise max_model_len if the model's context allows",
        )
    if sampling.keep_mask:
        raise engine_error(
            "vLLM does not tell which ids top_p kept, and sampling has keep_mask",
            fix="use engine: transformers, or sample with top_p: 1 and without keep_mask",
        )
    if 0 < sampling.temperature < LOWEST_TEMPERATURE:
        raise engine_error(
            f"vLLM does not sample at temperature {sampling.temperature}",
            fix=f"use 0 (greedy) or at least {LOWEST_TEMPERATURE}",
        )


def generation_of(request: Request, answer: Answer, version: int) -> Generation:
    """Return a checked generation.

    Raises:
        EngineError: If the answer is not one to the request.
    """
    if fault := _fault(request, answer):
        raise engine_error(f"vLLM's answer is malformed: {fault}", fix="report it with the version of vLLM")
    greedy = request.sampling.temperature == 0
    return Generation(
        token_ids=tuple(answer.token_ids),
        logprobs=(0.0,) * len(answer.token_ids) if greedy else tuple(map(float, answer.logprobs)),  # a point mass
        finish_reason="stop" if answer.finish_reason == "stop" else "length",
        weight_version=version,
    )


def _fault(request: Request, answer: Answer) -> str | None:
    ids, logprobs, most = answer.token_ids, answer.logprobs, request.sampling.max_tokens
    if not ids or not all(type(token) is int and token >= 0 for token in ids):
        return f"token ids {str(list(ids))[:60]}, expected at least one whole number"
    if len(logprobs) != len(ids):
        return f"{len(logprobs)} log-probs for {len(ids)} tokens"
    if not all(isinstance(value, float | int) and math.isfinite(value) and value < 1e-3 for value in logprobs):
        return f"log-probs {str(list(logprobs))[:60]}, expected finite numbers of at most 0"
    ended = ids[-1] in request.stop_ids
    if any(token in request.stop_ids for token in ids[:-1]) or len(ids) > most:
        return f"{len(ids)} tokens that go on after a stop token or beyond max_tokens {most}"
    if answer.finish_reason != ("stop" if ended else "length") or (not ended and len(ids) < most):
        return f"finish reason {answer.finish_reason!r} after {len(ids)} of {most} tokens, the last of them {ids[-1]}"
    return None
