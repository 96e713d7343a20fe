"""A server of the stage's own: its command line, its environment, and the proof that what answers is this one."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from collegium import EngineError
from collegium.training.language_model import LanguageModel
from collegium_vllm.client import Client
from collegium_vllm.config import VllmServerConfig
from collegium_vllm.errors import engine_error
from collegium_vllm.guard import GUARD, VARIABLE
from collegium_vllm.installed import require_vllm
from collegium_vllm.model_folder import write_model_folder
from collegium_vllm.server_process import ServerProcess, free_port
from collegium_vllm.settings import arguments, set_environment


class Address(NamedTuple):
    """Where a server is, and how it is known to be the one that was started."""

    url: str
    key: str
    model: str
    """The name under which it serves; drawn at random, so that no other server has it."""


def start_server(config: VllmServerConfig, policy: LanguageModel) -> tuple[ServerProcess, Address]:
    """Start a server for a policy's architecture and wait until it, and no other, is healthy.

    Raises:
        EngineError: If it cannot be started, ends, or its port is another server's.
    """
    require_vllm("vllm-server")
    port = config.port or free_port()
    address = Address(
        f"http://127.0.0.1:{port}", secrets.token_urlsafe(24), f"collegium-{secrets.token_hex(8)}"
    )  # fmt: skip
    process = _launched(config, policy, port, address)
    with contextlib.closing(client_of(config, address.url, address.key)) as client:
        process.wait_until(lambda: client.is_healthy() and _is_ours(client, address.model), config.startup_timeout_s)
    return process, address


def _launched(config: VllmServerConfig, policy: LanguageModel, port: int, address: Address) -> ServerProcess:
    """Start the process in a folder of its own, which goes with it; or at once, if it cannot be started."""
    folder: Path | None = None
    try:
        folder = Path(tempfile.mkdtemp(prefix="collegium-vllm-"))
        model = folder / "model"
        write_model_folder(policy, model)
        line = command(config, policy, model, port, address.model)
        return ServerProcess(line, _environment(config, policy, address.key), folder, address.key)
    except BaseException as error:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        if not isinstance(error, OSError):
            raise
        raise engine_error(
            f"the server cannot be started from {str(folder or tempfile.gettempdir())!r}: {error}",
            fix="free space in the temporary folder, or point TMPDIR to one that can be written to",
        ) from error


def _is_ours(client: Client, model: str) -> bool:
    """Check that the server that answers is the one that was started.

    Raises:
        EngineError: If it is another one: ours cannot get its port any more.
    """
    try:
        client.model(model)
    except EngineError as error:
        raise engine_error(
            f"another server answers in place of the one that was started: {error.problems[0].what}",
            fix="end it, or give another port, or none",
        ) from error
    return True


def command(config: VllmServerConfig, policy: LanguageModel, model: Path, port: int, name: str) -> list[str]:
    """Return the server's command line."""
    line = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    line += ["--served-model-name", name, "--host", "127.0.0.1", "--port", str(port), "--disable-uvicorn-access-log"]
    line += ["--middleware", GUARD]
    for option, value in arguments(config, policy).items():
        flag = option.replace("_", "-")
        if isinstance(value, bool):
            line.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            line += [f"--{flag}", str(value)]
    return line


def _environment(config: VllmServerConfig, policy: LanguageModel, key: str) -> dict[str, str]:
    environment = dict(os.environ)
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        environment.pop(name, None)  # the server is no rank of the stage
    set_environment(environment, on_cpu=policy.device.type == "cpu")
    if config.devices is not None:
        environment["CUDA_VISIBLE_DEVICES"] = config.devices
    return {**environment, "VLLM_SERVER_DEV_MODE": "1", VARIABLE: key}


def client_of(config: VllmServerConfig, url: str, key: str | None) -> Client:
    """Return a client with the options' limits."""
    return Client(
        url, key, timeout=config.request_timeout_s, retries=config.retries, concurrency=config.concurrency
    )  # fmt: skip
