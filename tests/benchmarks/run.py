"""Speed, as ratios measured side by side (`make bench`): what the substrate's own ways cost beside the plain ones.

Each pair is run in turn, A B A B ..., and the median of the pairwise ratios is printed; a ratio under 1 means that ours is faster.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from collegium.builtin_components.engine import TransformersEngine
from collegium.kinds.engine import SamplingParams
from collegium.training.initialise import initialise
from collegium.training.language_model import LanguageModel
from collegium.training.logprobs import token_logprobs
from collegium.training.model_spec import ModelSpec

PAIRS = 7


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{'what':<58}{'ratio':>8}")
    for vocabulary in (100, 32_768):
        ours, plain = _logprobs(vocabulary)
        print(f"{f'chunked log-probs, {vocabulary:,} tokens / plain logits':<58}{_ratio(ours, plain):>8.2f}")
    ours, plain = _generation(initialise(ModelSpec(), 0))
    print(f"{'engine, 32 prompts x 8 completions / generate':<58}{_ratio(ours, plain):>8.2f}")


def _ratio(ours: Callable[[], object], plain: Callable[[], object]) -> float:
    _seconds(ours), _seconds(plain)
    return statistics.median(_seconds(ours) / _seconds(plain) for _ in range(PAIRS))


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _logprobs(vocabulary: int) -> tuple[Callable[[], object], Callable[[], object]]:
    hidden = torch.randn(1024, 128, requires_grad=True)
    head = torch.randn(vocabulary, 128, requires_grad=True)
    targets = torch.randint(vocabulary, (1024,))

    def ours() -> None:
        token_logprobs(hidden, head, targets, chunk=256)[0].sum().backward()

    def plain() -> None:
        (hidden @ head.T).log_softmax(-1).gather(1, targets[:, None]).sum().backward()

    return ours, plain


def _generation(policy: LanguageModel) -> tuple[Callable[[], object], Callable[[], object]]:
    engine = TransformersEngine()
    engine.sync(policy, 0)
    prompts = [[5 + number % 40] * 12 for number in range(32) for _ in range(8)]
    tokens = torch.tensor(prompts)

    def ours() -> object:
        return engine.generate(prompts, SamplingParams(max_tokens=24), range(len(prompts)))

    def plain() -> object:
        return policy.model.generate(
            tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=24, do_sample=True, top_k=0, pad_token_id=0
        )

    return ours, plain


if __name__ == "__main__":
    main()
