"""vLLM's settings: arguments that both engines give it, and environment variables that a user's own values override."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch

from collegium.training.language_model import LanguageModel
from collegium_vllm.config import VllmConfig
from collegium_vllm.runtime import EXTENSION, GENERATION_CONFIG, LOGPROBS_MODE

GIB = 1 << 30


def arguments(config: VllmConfig, policy: LanguageModel) -> dict[str, Any]:
    """Return vLLM's arguments by name. Its seed has no say: every prompt brings its own."""
    on_cpu = policy.device.type == "cpu"
    dtype = config.dtype if config.dtype != "auto" else str(policy.compute_dtype).removeprefix("torch.")
    cache = config.kv_cache_gb or (1.0 if on_cpu else None)
    chosen = {
        "dtype": dtype,
        "load_format": "dummy",  # the first sync brings the weights, as every later one does
        "gpu_memory_utilization": config.gpu_memory_utilization,
        "kv_cache_memory_bytes": int(cache * GIB) if cache else None,
        "tensor_parallel_size": config.tensor_parallel_size,
        "max_model_len": config.max_model_len or policy.context_length,
        "enforce_eager": on_cpu if config.enforce_eager is None else config.enforce_eager,
        "enable_sleep_mode": config.sleep_between and not on_cpu,
        "enable_prefix_caching": True,
        "logprobs_mode": LOGPROBS_MODE,
        "generation_config": GENERATION_CONFIG,
        "worker_extension_cls": EXTENSION,
        "skip_tokenizer_init": True,  # ids go in and come out
        "seed": 0,
    }
    return {name: value for name, value in chosen.items() if value is not None}


def set_environment(environment: MutableMapping[str, str], *, on_cpu: bool) -> None:
    """Set what vLLM reads from the environment, where the user has not."""
    environment.setdefault("VLLM_NO_USAGE_STATS", "1")
    environment.setdefault("TOKENIZERS_PARALLELISM", "false")
    if on_cpu:
        environment.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # else it binds this process to cores of its own
        environment.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
