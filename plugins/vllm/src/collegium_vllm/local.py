"""The engine `vllm`: vLLM in the stage's own process."""

from __future__ import annotations

import contextlib
import importlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from collegium import CollegiumError
from collegium.training.distributed import world
from collegium.training.language_model import LanguageModel
from collegium_vllm.config import VllmConfig
from collegium_vllm.engine import SyncedEngine
from collegium_vllm.errors import config_error, engine_error
from collegium_vllm.fingerprint import WorkerFigures
from collegium_vllm.guard import key_of_this_process
from collegium_vllm.installed import require_vllm
from collegium_vllm.model_folder import write_model_folder
from collegium_vllm.random_state import kept_random_state
from collegium_vllm.runtime import Description
from collegium_vllm.sampling import Answer, Request
from collegium_vllm.settings import arguments, set_environment
from collegium_vllm.transfer import files_of, remove_orphans


class LocalRuntime:
    """A `vllm.LLM`.

    Args:
        config: The engine's options.
        policy: The model whose architecture, tokenizer and device it takes.
    """

    def __init__(self, config: VllmConfig, policy: LanguageModel) -> None:
        self._device = policy.device
        self._usable = True
        self._in_process = _stays_in_process(on_cpu=policy.device.type == "cpu") and config.tensor_parallel_size == 1
        self._joined = dist.is_initialized()
        self._key = key_of_this_process()
        with self._calling("start"), _own_threads():
            vllm: Any = importlib.import_module("vllm")  # by name, for it is optional; after the environment is set
            self._sampling_params = vllm.SamplingParams
            with tempfile.TemporaryDirectory(prefix="collegium-vllm-") as folder, _own_classes(policy):
                write_model_folder(policy, Path(folder))
                self._llm = vllm.LLM(folder, disable_log_stats=True, **arguments(config, policy), **_launcher())
            try:
                self.description = Description.of(self._llm.collective_rpc("collegium_describe", args=(self._key,))[0])
            except BaseException:
                self.close()
                raise

    def is_usable(self) -> bool:
        """Tell whether no call has failed: requests of that one may be left in vLLM's queue."""
        return self._usable

    def load(self, weights: Iterator[tuple[str, Tensor]]) -> None:
        """Hand the trainer's tensors over; vLLM copies them into its own."""
        with self._calling("take the weights"):
            if self._in_process:
                self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
            else:
                with files_of(weights, None) as files:
                    self._llm.collective_rpc("collegium_load", args=(self._key, files))
            if not self._llm.reset_prefix_cache():
                raise engine_error("vLLM did not reset its prefix cache, which holds states of other weights")

    def figures(self) -> Sequence[WorkerFigures]:
        """Return each worker's figures."""
        with self._calling("tell its weights"):
            found: Sequence[WorkerFigures] = self._llm.collective_rpc("collegium_figures", args=(self._key,))
            return found

    def complete(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Complete all requests as one batch."""
        prompts = [{"prompt_token_ids": list(each.prompt)} for each in requests]
        parameters = [self._sampling_params(detokenize=False, **each.parameters()) for each in requests]
        with self._calling(f"complete {len(requests)} prompts"):
            return [_answer(output) for output in self._llm.generate(prompts, parameters, use_tqdm=False)]

    def sleep(self) -> None:
        """Move the weights to main memory and drop the key-value cache."""
        with self._calling("sleep"):
            self._llm.sleep(level=1)

    def wake(self) -> None:
        """Take the memory again."""
        with self._calling("wake up"):
            self._llm.wake_up()

    def close(self) -> None:
        """Release the model and its cache."""
        with self._calling("close"), _own_group(self._joined):
            self._llm.llm_engine.engine_core.shutdown()
            del self._llm

    @contextlib.contextmanager
    def _calling(self, what: str) -> Iterator[None]:
        """Turn whatever vLLM raises into an `EngineError`, and keep training's random state out of it."""
        try:
            with kept_random_state(self._device):
                yield
        except CollegiumError:
            raise
        except Exception as error:
            self._usable = False
            raise engine_error(
                f"vLLM could not {what}: {type(error).__name__}: {error}",
                fix="see the lines above it in the stage's log; `collegium resume` goes on from the last checkpoint",
            ) from error


class VllmEngine(SyncedEngine):
    """Sample with vLLM in this process; each rank has its own."""

    Config = VllmConfig

    def start(self, policy: LanguageModel) -> LocalRuntime:
        """Start vLLM on the policy's device."""
        require_vllm("vllm")
        size = self.config.tensor_parallel_size
        if size > 1 and world().size > 1:
            raise config_error(
                f"tensor_parallel_size {size} in a stage of {world().size} ranks: each rank has a vLLM of its own",
                fix="leave it at 1, or use the engine vllm-server",
            )
        remove_orphans(None)
        return LocalRuntime(self.config, policy)


def _stays_in_process(*, on_cpu: bool) -> bool:
    """Set the environment, and tell whether vLLM's core will run in this process."""
    set_environment(os.environ, on_cpu=on_cpu)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    return os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0") == "0"


def _launcher() -> dict[str, str]:
    """Return how vLLM finds its place among ranks that a launcher has started."""
    return {"distributed_executor_backend": "external_launcher"} if world().size > 1 else {}


@contextlib.contextmanager
def _own_threads() -> Iterator[None]:
    """Put back `torch.set_num_threads`, which vLLM's CPU worker replaces for the whole process."""
    set_num_threads = torch.set_num_threads
    try:
        yield
    finally:
        torch.set_num_threads = set_num_threads


@contextlib.contextmanager
def _own_group(joined: bool) -> Iterator[None]:
    """Keep the process group that the trainer made, which vLLM has joined and ends with its own."""
    destroy = dist.destroy_process_group
    if joined:
        dist.destroy_process_group = lambda group=None: destroy(group) if group is not None else None
    try:
        yield
    finally:
        dist.destroy_process_group = destroy


@contextlib.contextmanager
def _own_classes(policy: LanguageModel) -> Iterator[None]:
    """Check that vLLM leaves the classes of the trainer's model as they are.

    Raises:
        EngineError: If it has changed how they are called, as it does where it runs the model through `transformers`.
    """
    before = {kind: kind.__call__ for kind in map(type, policy.model.modules())}
    yield
    if changed := [kind.__name__ for kind, call in before.items() if kind.__call__ is not call]:
        raise engine_error(
            f"vLLM has no model of its own for {type(policy.model).__name__}, and changes the trainer's {changed[0]}",
            fix="use the engine vllm-server, whose process is another, or transformers",
        )


def _answer(output: Any) -> Answer:
    made = output.outputs[0]
    logprobs = [at[token].logprob for token, at in zip(made.token_ids, made.logprobs or (), strict=True)]
    return Answer(list(made.token_ids), logprobs, made.finish_reason)
