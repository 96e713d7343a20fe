"""What a vLLM worker can do for the trainer; vLLM mixes this class into its worker (`worker_extension_cls`).

It runs in vLLM's process, which may be a server's on another machine: nothing here needs the rest of a stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from collegium_vllm.fingerprint import figures_of
from collegium_vllm.guard import is_key, refusal

HEAD = "lm_head"


class CollegiumWorker:
    """Methods for `collective_rpc`; everything they take and return is plain JSON.

    Each wants the server's API key first: vLLM itself lets whoever reaches `/collective_rpc` call them.
    """

    vllm_config: Any
    device: Any

    def collegium_describe(self, key: str) -> dict[str, Any]:
        """Return what the trainer has to know before it sends weights and prompts."""
        if not is_key(key):
            return refusal("collegium_describe")
        model = self.vllm_config.model_config
        return {
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": torch.device(self.device).type,
            "max_model_len": int(model.max_model_len),
            "logprobs_mode": str(model.logprobs_mode),
            "generation_config": str(model.generation_config),
            "key_value_heads": int(model.get_total_num_kv_heads()),
            "experts": any("experts" in name for name, _ in self.get_model().named_parameters()),  # type: ignore[attr-defined]
            "tensor_parallel_size": int(self.vllm_config.parallel_config.tensor_parallel_size),
        }

    def collegium_load(self, key: str, files: Sequence[str]) -> dict[str, Any]:
        """Replace the weights, in place, by those in safetensors files; return which of these are not here, if any."""
        if not is_key(key):
            return refusal("collegium_load")
        if missing := [file for file in files if not Path(file).is_file()]:
            return {"missing": missing}
        self.reload_weights(weights_iterator=_read(files))  # type: ignore[attr-defined]  # vLLM's worker has it
        return {"missing": []}

    @torch.no_grad()
    def collegium_figures(self, key: str) -> dict[str, Any]:
        """Return sum, sum of squares and number of each weight with which this worker computes."""
        if not is_key(key):
            return refusal("collegium_figures")
        figures = {name: figures_of(weight) for name, weight in held_weights(self.get_model())}  # type: ignore[attr-defined]
        return {name: [each.total, each.squares, each.count] for name, each in figures.items()}


def _read(files: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    for file in files:
        with safe_open(file, framework="pt") as reader:
            for name in reader.keys():  # noqa: SIM118  # not a mapping
                yield name, reader.get_tensor(name)


def held_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield every weight with which a vLLM model computes.

    On a CPU vLLM packs a layer's weight for its kernel and drops the original. With tied embeddings it keeps the
    original beside the head's packed copy, which is the one that makes logits and may be stale: the copy counts.
    """
    seen: set[int] = set()
    for path, module in model.named_modules(remove_duplicate=False):
        is_head = path.rpartition(".")[2] == HEAD or type(module).__name__ == "ParallelLMHead"
        if id(module) in seen and not is_head:  # one module under two names; a head that is the embeddings counts
            continue
        seen.add(id(module))
        for name, weight in module.named_parameters(recurse=False):
            packed = hasattr(module, "cpu_linear") and name == "weight" and (is_head or not weight.numel())
            held = unpacked(module) if packed else weight
            shard = getattr(module, "shard_indices", None)  # of a vocabulary: rows that pad it may hold anything
            yield f"{path}.{name}", held if shard is None else held[: shard.num_org_elements]


def unpacked(module: Any) -> Tensor:
    """Return the weight ``[out, in]`` that a layer's kernel has packed: what it makes of the identity is exact."""
    width = getattr(module, "input_size_per_partition", None) or module.input_size
    made: Tensor = module.quant_method.apply(module, torch.eye(width, dtype=module.weight.dtype))
    return made.t()
