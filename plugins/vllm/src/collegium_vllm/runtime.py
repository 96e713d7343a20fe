"""A running vLLM as the engines use it, in process or served."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from collegium_vllm.errors import config_error, engine_error
from collegium_vllm.fingerprint import WorkerFigures
from collegium_vllm.sampling import Answer, Request

LOGPROBS_MODE = "processed_logprobs"
"""Log-probs under the distribution that was sampled from: after temperature and top-p."""
GENERATION_CONFIG = "vllm"
"""vLLM's own defaults, not those in the model's folder, which may add stop tokens or penalties."""
EXTENSION = "collegium_vllm.worker_extension.CollegiumWorker"

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Description:
    """What a running vLLM says about itself."""

    dtype: torch.dtype
    device: str
    max_model_len: int

    @classmethod
    def of(cls, said: Any) -> Description:
        """Read what a worker's `collegium_describe` returned.

        Raises:
            EngineError: If this vLLM would not do what the trainer needs.
        """
        needed = {"logprobs_mode": LOGPROBS_MODE, "generation_config": GENERATION_CONFIG}
        try:
            for option, value in needed.items():
                if said[option] != value:
                    flag = option.replace("_", "-")
                    raise engine_error(
                        f"vLLM runs with {option} {said[option]!r}, expected {value!r}",
                        fix=f"start the server with --{flag} {value}",
                    )
            _check_layout(said["tensor_parallel_size"], said["key_value_heads"])
            _check_experts(said["device"], has_experts=said["experts"])
            return cls(DTYPES[said["dtype"]], said["device"], said["max_model_len"])
        except (KeyError, TypeError) as error:
            raise engine_error(
                f"vLLM describes itself as {str(said)[:200]}",
                fix="let trainer and server have the same version of collegium-vllm",
            ) from error

    def check_sleep(self, *, wanted: bool) -> None:
        """Check that vLLM can sleep if it shall.

        Raises:
            ConfigError: If it cannot.
        """
        if wanted and self.device == "cpu":
            raise config_error(
                "sleep_between needs a GPU: on a CPU vLLM has no memory of an accelerator to give back",
                fix="leave sleep_between out",
            )

    def check_dtype(self, wanted: str, trainer: torch.dtype) -> None:
        """Check that vLLM computes in the precision that the recipe says, or else in the trainer's.

        Weights rounded to another one would pass the fingerprint, which rounds them as well: sampling and training
        would then differ without a word.

        Raises:
            EngineError: If it does not.
        """
        if self.dtype == DTYPES.get(wanted, trainer):
            return
        found, expected = (str(each).removeprefix("torch.") for each in (self.dtype, DTYPES.get(wanted, trainer)))
        raise engine_error(
            f"vLLM computes in {found}, expected {expected}, "
            + ("the precision of the trainer" if wanted == "auto" else "which dtype names"),
            fix=f"start the server with --dtype {expected}, or say dtype: {found} in the recipe if that is meant",
        )


def _check_layout(size: int, heads: int) -> None:
    if size > heads:
        raise engine_error(
            f"tensor_parallel_size {size} exceeds the model's {heads} key-value heads: vLLM then copies some, and the "
            "weights cannot be checked",
            fix=f"use at most {heads}",
        )


def _check_experts(device: str, *, has_experts: bool) -> None:
    if has_experts and device == "cpu":
        raise engine_error(
            "on a CPU vLLM packs a mixture of experts for its kernels, and mixes it up when weights are updated in "
            "place (seen with 0.32)",
            fix="sample on a GPU, or with the engine transformers",
        )


class Runtime(Protocol):
    """One vLLM that has been started, or attached."""

    description: Description

    def is_usable(self) -> bool:
        """Tell whether it still runs, with nothing of a failed call left in it."""

    def load(self, weights: Iterator[tuple[str, Tensor]]) -> None:
        """Replace the weights, in place, by these, given in the engine's precision; forget what others have cached."""

    def figures(self) -> Sequence[WorkerFigures]:
        """Return the figures of the weights that each worker holds."""

    def complete(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Return one answer per request, in order."""

    def sleep(self) -> None:
        """Give the accelerator's memory back; weights wait in main memory."""

    def wake(self) -> None:
        """Take the memory again."""

    def close(self) -> None:
        """End it, if it was started here."""
