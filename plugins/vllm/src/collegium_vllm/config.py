"""Options of the engines (light: neither torch nor vLLM)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from collegium import Config
from collegium_vllm.installed import require_vllm


class VllmConfig(Config):
    """Options of the engine `vllm`."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of vLLM's weights; `auto`: the one in which the trainer computes. A running server must have it."""
    gpu_memory_utilization: float = Field(default=0.4, gt=0, le=1)
    """Share of each accelerator's memory that vLLM takes for weights and key-value cache; training needs the rest."""
    kv_cache_gb: float | None = Field(default=None, gt=0)
    """Size of the key-value cache in GiB; default: what `gpu_memory_utilization` leaves, on a CPU 1 GiB."""
    tensor_parallel_size: int = Field(default=1, ge=1)
    """Accelerators over which vLLM splits the weights; above 1 only in a stage of one process, or with a server."""
    max_model_len: int | None = Field(default=None, ge=2)
    """Most tokens of prompt and completion; default: the model's context."""
    enforce_eager: bool | None = None
    """Run without compilation and CUDA graphs: starts faster, samples slower; default: on a CPU only."""
    sleep_between: bool = False
    """Give the accelerator's memory back after each call of `generate`; needs a GPU."""

    def content_paths(self) -> Sequence[Path]:
        """Return nothing: no option names content. This is where a plan finds out that vLLM is not installed.

        Raises:
            ConfigError: If it is not.
        """
        require_vllm("vllm")
        return ()


class VllmServerConfig(VllmConfig):
    """Options of the engine `vllm-server`."""

    url: str | None = Field(default=None, pattern=r"^https?://[^/\s@]+(/\S*)?$")
    """A running server, such as `http://host:8000`; default: the stage starts one on this machine and stops it."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Name of the environment variable with the API key of the server at `url`, which needs one; never the key."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """Port of the server that is started, on the loopback interface; default: a free one."""
    devices: str | None = None
    """CUDA_VISIBLE_DEVICES of the server that is started, such as `2,3`; default: those of the stage."""
    transfer_dir: Path | None = None
    """Folder that trainer and server both see, through which new weights go; default: the temporary folder."""
    startup_timeout_s: float = Field(default=900, gt=0)
    """Seconds until the server must answer, model loaded."""
    request_timeout_s: float = Field(default=600, gt=0)
    """Seconds that one try of a completion, or of an update of the weights, may take: connection and whole reply."""
    retries: int = Field(default=2, ge=0)
    """How often a request is repeated that failed on its way or with a server error; a seed's tokens stay the same."""
    concurrency: int = Field(default=128, ge=1)
    """Most requests at once, of each rank; vLLM batches them."""

    @model_validator(mode="after")
    def _start_or_attach(self) -> Self:
        """Refuse options of a server to be started beside the URL of one that runs, and a key for one that has none."""
        started = {"port", "devices", "kv_cache_gb", "tensor_parallel_size", "max_model_len", "enforce_eager"}
        if self.url is not None and (idle := sorted(self.model_fields_set & started)):
            raise ValueError(f"with url, the running server decides on {', '.join(idle)}: leave it out")
        if self.url is None and self.api_key_env is not None:
            raise ValueError("api_key_env belongs to url: a server that the stage starts gets a key of its own")
        if self.url is not None and self.api_key_env is None:
            raise ValueError("url needs api_key_env: the workers of a server take no weights without its VLLM_API_KEY")
        return self

    def content_paths(self) -> Sequence[Path]:
        """Return nothing: no option names content. This is where a plan finds out that vLLM is not installed.

        Raises:
            ConfigError: If it is not, and a server would have to be started.
        """
        if self.url is None:
            require_vllm("vllm-server")
        return ()
