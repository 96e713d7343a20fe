"""Speed and memory at real sizes (`make bench-engines size=0.6b`): rollouts by each engine, and training steps on them.

The architecture is Qwen3's at the given size with random weights, which is enough for speed and memory. On a machine
without an accelerator only ``tiny`` is of use: it shows that the script runs. Each row is printed as it is measured; the
estimate beside the peak is what `collegium plan` says of the same stage.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen3Config

from collegium.kinds.engine import Engine, SamplingParams
from collegium.plugins.registry import Registry
from collegium.task import Completion, Sample, Task
from collegium.training.batch import RolloutBatch, collate
from collegium.training.language_model import LanguageModel
from collegium.training.policy_update import PolicyUpdate
from collegium.training.rollout_config import RolloutConfig
from collegium.training.rollouts import generate
from collegium.training.trainer import Trainer

SIZES: dict[str, dict[str, int]] = {
    "tiny": {"vocab_size": 512, "hidden_size": 128, "num_hidden_layers": 4, "heads": 4, "intermediate_size": 384},
    "0.6b": {
        "vocab_size": 151_936,
        "hidden_size": 1024,
        "num_hidden_layers": 28,
        "heads": 16,
        "intermediate_size": 3072,
    },
    "1.7b": {
        "vocab_size": 151_936,
        "hidden_size": 2048,
        "num_hidden_layers": 28,
        "heads": 16,
        "intermediate_size": 6144,
    },
}
"""Qwen3's own sizes (arXiv 2505.09388); 8 key-value heads of width 128, tied embeddings."""


def main() -> None:
    """Print the table."""
    options = _options()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    where = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"Qwen3 {options.size}, random weights, {where}; {options.prompts} prompts x {options.group} completions")
    print("| what | tokens/s | peak memory, GiB |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        policy = model_of(options.size, device)
        policy.save(folder)
        prompts = [prompt for prompt in prompts_of(policy, options) for _ in range(options.group)]
        made: list[Any] = []
        for name, settings in engines(options):
            engine: Engine = Registry.discover().build("engine", name, settings)
            made = rollouts(name, engine, policy, prompts, options)
        batch = batch_of(policy, prompts, made)
        for precision in ("float32", "bfloat16") if device.type == "cuda" else ("float32",):
            train(f"training step, {precision}", folder, device, batch, precision)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=64)
    return parser.parse_args()


def model_of(size: str, device: torch.device) -> LanguageModel:
    """Return the architecture with random weights and a tokenizer of its vocabulary."""
    sizes = dict(SIZES[size])
    heads, tiny = sizes.pop("heads"), size == "tiny"
    config = Qwen3Config(
        **sizes, num_attention_heads=heads, num_key_value_heads=4 if tiny else 8, head_dim=32 if tiny else 128,
        max_position_embeddings=4096, tie_word_embeddings=True, eos_token_id=0, pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    words = {"<eos>": 0, **{f"w{index}": index for index in range(1, sizes["vocab_size"])}}
    inner = Tokenizer(models.WordLevel(words, unk_token="<eos>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>", pad_token="<eos>")
    torch.manual_seed(0)
    return LanguageModel(AutoModelForCausalLM.from_config(config).eval(), tokenizer).to(device)


def prompts_of(policy: LanguageModel, options: argparse.Namespace) -> list[list[int]]:
    """Return random prompts."""
    rng = random.Random(0)
    return [[rng.randrange(1, policy.vocabulary) for _ in range(options.prompt_tokens)] for _ in range(options.prompts)]


def engines(options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the engines that are installed, with their options."""
    yield "collegium/transformers", {}
    if importlib.util.find_spec("vllm") is not None:
        dtype = "bfloat16" if torch.cuda.is_available() else "float32"
        yield "collegium-vllm/vllm", {"dtype": dtype, "max_model_len": options.prompt_tokens + options.max_tokens}


def rollouts(
    name: str, engine: Engine, policy: LanguageModel, prompts: list[list[int]], options: argparse.Namespace
) -> list[Any]:
    """Measure an engine: its sampling, and what an update of its weights takes."""
    sampling = SamplingParams(max_tokens=options.max_tokens)
    engine.sync(policy, 0)
    generate(engine, prompts, sampling, range(len(prompts)))  # warm
    made: list[Any] = []
    with measured(f"rollouts, {name}", lambda: sum(len(each.token_ids) for each in made)):
        made = generate(engine, prompts, sampling, range(len(prompts)))
    started = time.perf_counter()
    engine.sync(policy, 1)
    print(f"| update of the weights, {name} | {time.perf_counter() - started:.2f} s | |")
    engine.close()
    return made


def batch_of(policy: LanguageModel, prompts: list[list[int]], made: list[Any]) -> RolloutBatch:
    """Return the rollouts as a batch with random advantages."""
    samples = [
        Sample(Task(str(row), "?", domain="bench"), Completion("", each.finish_reason, each.token_ids), row)
        for row, each in enumerate(made)
    ]
    batch = collate(prompts, made, samples, [], 0)
    batch.advantage = torch.randn(len(made), 1) * batch.completion_mask
    return batch


def train(name: str, folder: str, device: torch.device, batch: RolloutBatch, precision: str) -> None:
    """Measure one GRPO update."""
    policy = LanguageModel.load(folder, device)
    config = RolloutConfig(micro_batch=8, precision=precision)
    loss = Registry.discover().build("loss", "collegium-grpo/clipped")
    update = PolicyUpdate(Trainer(policy, config, 10), loss, config)
    update(batch, random.Random(0))  # warm
    with measured(name, lambda: int(batch.attention_mask.sum())):
        update(batch, random.Random(0))


@contextmanager
def measured(name: str, tokens: Callable[[], int]) -> Iterator[None]:
    """Print a row: tokens per second, and the most memory that was held (on a CPU: by the process so far)."""
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    yield
    if on_gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"| {name} | {tokens() / seconds:,.0f} | {peak / 2**30:.2f} |", flush=True)


if __name__ == "__main__":
    main()
