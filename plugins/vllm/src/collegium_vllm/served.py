"""The engine `vllm-server`: a vLLM server that the stage starts, or one that runs already."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from collegium import EngineError
from collegium.training.distributed import world
from collegium.training.language_model import LanguageModel
from collegium_vllm.client import Client
from collegium_vllm.config import VllmServerConfig
from collegium_vllm.engine import SyncedEngine
from collegium_vllm.errors import config_error, engine_error
from collegium_vllm.fingerprint import WorkerFigures
from collegium_vllm.guard import GUARD, VARIABLE
from collegium_vllm.launch import client_of, start_server
from collegium_vllm.runtime import EXTENSION, GENERATION_CONFIG, LOGPROBS_MODE, Description
from collegium_vllm.sampling import Answer, Request
from collegium_vllm.server_process import ServerProcess
from collegium_vllm.transfer import files_of, remove_orphans

END_S = 5.0
"""Seconds in which a server that is about to end does so after a request has failed."""
HOW_TO_SERVE = (
    f"start it, with collegium-vllm installed beside vLLM, as VLLM_SERVER_DEV_MODE=1 {VARIABLE}=... "
    f"python -m vllm.entrypoints.openai.api_server --model MODEL --host HOST --middleware {GUARD} "
    f"--worker-extension-cls {EXTENSION} --logprobs-mode {LOGPROBS_MODE} --generation-config {GENERATION_CONFIG}"
)


class ServedRuntime:
    """A server and, if it was started here, its process.

    Args:
        config: The engine's options.
        client: Connected to the server.
        process: The server, if it was started here by this rank.
        model: The name that it must serve; without one, whatever it serves.

    Raises:
        EngineError: If it is another server, or would not do what the trainer needs.
    """

    def __init__(
        self, config: VllmServerConfig, client: Client, process: ServerProcess | None = None, model: str | None = None
    ) -> None:
        self._config = config
        self._client = client
        self._process = process
        client.explain = self._explain
        try:
            self._model = client.model(model)
            self.description = Description.of(self._handshake())
        except BaseException:
            self.close()
            raise

    def is_usable(self) -> bool:
        """Tell whether the server still runs; of one by URL that is not known."""
        return self._process is None or not self._process.has_ended()

    def load(self, weights: Iterator[tuple[str, Tensor]]) -> None:
        """Pass the weights through files."""
        with files_of(weights, self._config.transfer_dir) as files:
            said = self._client.call_workers("collegium_load", files)
        if any(each != {"missing": []} for each in said):
            raise engine_error(
                f"the server did not read the weights in {str(Path(files[0]).parent)!r}: {str(said)[:300]}",
                fix="trainer and server must both see transfer_dir: give a folder that they share",
            )
        self._client.reset_prefix_cache()

    def figures(self) -> Sequence[WorkerFigures]:
        """Return each worker's figures."""
        return self._client.call_workers("collegium_figures")

    def complete(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Complete the requests, many at once."""
        return self._client.complete(self._model, requests)

    def sleep(self) -> None:
        """Let the server give its accelerators' memory back."""
        self._client.sleep()

    def wake(self) -> None:
        """Let the server take the memory again."""
        self._client.wake()

    def close(self) -> None:
        """Close the connections, and stop the server if it was started here."""
        if self._process is not None:
            self._process.stop()  # first: it ends the requests that another thread may be waiting for
        self._client.close()

    def _handshake(self) -> object:
        try:
            return self._client.call_workers("collegium_describe")[0]
        except EngineError as error:
            if self._process is not None:
                raise
            raise engine_error(f"{error.problems[0].what}; its weights cannot be updated", fix=HOW_TO_SERVE) from error

    def _explain(self, what: str) -> EngineError:
        """Return the error of a failed request: the server's end and the end of its log, where they are known."""
        if self._process is None:
            return engine_error(
                f"the server at {self._client.url} {what}",
                fix="look at its log; `collegium resume` goes on from the last checkpoint once it serves again",
            )
        state = "has ended, and" if self._process.has_ended(END_S) else "runs, but"
        return self._process.error(f"the vLLM server {state} {what}")


class VllmServerEngine(SyncedEngine):
    """Sample with a vLLM server, which all ranks share."""

    Config = VllmServerConfig
    network: ClassVar[bool] = True
    writes_files: ClassVar[bool] = True
    served = True

    def start(self, policy: LanguageModel) -> ServedRuntime:
        """Start the server on rank 0, or attach to the one at `url`."""
        config: VllmServerConfig = self.config
        if world().is_main:
            remove_orphans(config.transfer_dir)
        if config.url is not None:
            return ServedRuntime(config, client_of(config, config.url, _key(config)))
        process, address = start_server(config, policy) if world().is_main else (None, None)
        address = world().from_main(address)
        if address is None:
            raise engine_error("rank 0 tells of no server", fix="see the error of rank 0")
        return ServedRuntime(config, client_of(config, address.url, address.key), process, address.model)


def _key(config: VllmServerConfig) -> str:
    """Return the API key from the environment.

    Raises:
        ConfigError: If the variable that the options name is not set, or holds no key.
    """
    key = os.environ.get(config.api_key_env or "", "")
    if not (key and key.isascii() and key.isprintable() and " " not in key):
        raise config_error(
            f"api_key_env names {config.api_key_env}, which {'holds no valid key' if key else 'is not set'} here",
            fix=f"export {config.api_key_env}=... with the server's {VARIABLE}, where the stage runs",
        )
    return key
