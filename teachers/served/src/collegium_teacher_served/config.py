"""Options of the teacher `served` (light: neither torch nor an HTTP client)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from collegium import Config, TeacherConfig
from collegium.model_files import check_model_folder, is_local

VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
"""Names of environment variables."""


class BreakerConfig(Config):
    """When to leave a failing server alone, and when to give up on it."""

    failures: int = Field(default=5, ge=1)
    """Failed tries in a row, over all requests, after which nothing more is asked for a while."""
    cool_down_s: float = Field(default=15.0, gt=0)
    """Seconds for which nothing is asked; then one request tries."""
    cool_downs: int = Field(default=4, ge=1)
    """Cool-downs in a row, each ended by a failed try, after which the teacher fails."""


class ServedTeacherConfig(TeacherConfig):
    """Options of the teacher `served`."""

    gives_states: ClassVar[bool] = False

    url: str
    """Root of the server, such as ``https://host:8000``; a trailing ``/v1`` is taken off."""
    model: str = Field(min_length=1)
    """The model's name as the server lists it under ``/v1/models``."""
    format: Literal["vllm", "sglang"] = "vllm"
    """``vllm``: ``/v1/completions`` with `prompt_logprobs`. ``sglang``: ``/generate`` with `return_logprob`."""
    tokenizer: str | None = None
    """Folder or hub name of the tokenizer that the server uses; default: the one of `checkpoint`."""
    checkpoint: str | None = None
    """Folder or hub name of the served weights; if given, server and checkpoint are compared when first opened."""
    tolerance: float = Field(default=0.05, gt=0)
    """Mean absolute difference of log-probs, in nats, allowed between server and `checkpoint`."""
    api_key_env: str | None = Field(default=None, pattern=VARIABLE.pattern)
    """Name of the environment variable that holds the key; the key itself never stands in a recipe. None sends none."""
    ca_file: Path | None = None
    """PEM file of the authority that signed an ``https`` server's certificate; default: the system's."""
    proxy: str | None = None
    """Root of an HTTP proxy through which the server is reached; none: directly, whatever the environment says."""
    sequences_per_request: int = Field(default=8, ge=1)
    """Most sequences in one request."""
    concurrency: int = Field(default=8, ge=1, le=256)
    """Most requests at once."""
    request_s: float = Field(default=60.0, gt=0)
    """Seconds for one try: connection, scoring and the whole reply."""
    batch_s: float = Field(default=600.0, gt=0)
    """Seconds for one batch of rollouts (and for the handshake): all tries and waits together."""
    retries: int = Field(default=5, ge=0, le=100)
    """Times that a request is repeated after a lost connection, no reply in time, or status 408, 429, 5xx."""
    backoff_s: float = Field(default=0.5, gt=0, le=60)
    """Longest wait before the first repetition; it doubles each time, up to 30, and is drawn at random below it."""
    breaker: BreakerConfig = BreakerConfig()
    """When to leave a failing server alone."""

    @field_validator("url")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        if "@" in value or "?" in value:
            raise ValueError("url must not carry credentials or a query; name the key's variable in api_key_env")
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("url must be one such as https://host:8000")
        return value.rstrip("/").removesuffix("/v1").rstrip("/")

    @field_validator("proxy")
    @classmethod
    def _plain_proxy(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if "@" in value or "?" in value:
            raise ValueError("proxy must not carry credentials or a query")
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("proxy must be one such as http://proxy:3128")
        return value

    @field_validator("url", "proxy", mode="before")
    @classmethod
    def _hide_credentials(cls, value: Any) -> Any:
        """Hide what the validators above refuse: errors show the value that they found. It runs before them."""
        if not isinstance(value, str):
            return value
        without = re.sub(r"^([a-z]+://)?.*@", r"\1***@", value, flags=re.IGNORECASE | re.DOTALL)
        return re.sub(r"[?#].*", "?***", without, flags=re.DOTALL)

    @field_validator("api_key_env", mode="before")
    @classmethod
    def _hide_a_key(cls, value: Any) -> Any:
        """Hide what is no variable's name: it may be the key itself."""
        return "***" if isinstance(value, str) and not VARIABLE.fullmatch(value) else value

    @model_validator(mode="after")
    def _has_a_tokenizer(self) -> ServedTeacherConfig:
        if self.tokenizer is None and self.checkpoint is None:
            raise ValueError("give tokenizer (the server's) or checkpoint: token ids mean nothing without it")
        return self

    @model_validator(mode="after")
    def _authority_needs_tls(self) -> ServedTeacherConfig:
        if self.ca_file is not None and not self.url.startswith("https:"):
            raise ValueError("ca_file is of no use without https")
        return self

    def local_model(self) -> str | None:
        """Return the checkpoint of the served weights: the admission gate may evaluate it, the handshake ties it."""
        return self.checkpoint

    def tokenizer_folder(self) -> str:
        """Folder or hub name of the tokenizer."""
        return str(self.tokenizer or self.checkpoint)

    def content_paths(self) -> Sequence[Path]:
        """Return the local files and folders, checked: tokenizer, checkpoint and the authority's certificate."""
        if self.checkpoint is not None and is_local(self.checkpoint):
            check_model_folder(self.checkpoint)
        named = [path for path in (self.tokenizer, self.checkpoint) if path is not None and is_local(path)]
        return [*map(Path, named), *([self.ca_file] if self.ca_file else [])]
