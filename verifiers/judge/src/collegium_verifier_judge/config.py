"""Options of the verifier `judge` (light: no HTTP client)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from collegium import Config

ITEM_LIMIT_S = 120.0
"""Seconds that the core gives one item: `Verifier.timeout_s` of the judge."""
RESERVED = ("model", "messages", "temperature", "max_tokens", "response_format", "stream", "n")
"""Keys of a request that the judge sets itself."""


class Budget(Config):
    """What the judge may spend: counted from the moment it is built, which is once per stage. None is no limit."""

    calls: int | None = Field(default=None, ge=0)
    """Requests, repeated ones included."""
    tokens: int | None = Field(default=None, ge=0)
    """Prompt and completion tokens, as the endpoint counts them."""
    cost: float | None = Field(default=None, ge=0)
    """Money, in the unit of the two prices."""
    prompt_price: float = Field(default=0.0, ge=0)
    """Price of a million prompt tokens."""
    completion_price: float = Field(default=0.0, ge=0)
    """Price of a million completion tokens."""
    when_spent: Literal["error", "abstain"] = "error"
    """Verdict of what can no longer be asked; ``abstain`` leaves those samples without a reward."""

    @model_validator(mode="after")
    def _cost_needs_prices(self) -> Budget:
        if self.cost is not None and not (self.prompt_price or self.completion_price):
            raise ValueError("cost needs prompt_price and completion_price; without them nothing ever costs anything")
        return self

    @property
    def counts_tokens(self) -> bool:
        """Whether it can be kept only if the endpoint reports its usage."""
        return self.tokens is not None or self.cost is not None


class JudgeConfig(Config):
    """Options of the verifier `judge`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "endpoint": "http://127.0.0.1:9/v1",
                    "model": "judge",
                    "rubric": "Does the response answer the question correctly and completely?",
                    "retries": 0,
                }
            ]
        }
    )

    endpoint: str
    """Base URL of an OpenAI-compatible service, such as ``http://host:8000/v1``; ``/chat/completions`` is appended."""
    model: str = Field(min_length=1)
    """The model's name as the service knows it."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Name of the environment variable that holds the key; the key itself never stands in a recipe. None sends none."""
    rubric: str | None = None
    """What the judge is to look at, as text."""
    rubric_file: Path | None = None
    """A UTF-8 text file that holds the rubric, instead of `rubric`."""
    mode: Literal["pointwise", "reference", "pairwise"] = "pointwise"
    """``pointwise``: points from 0 to `scale`. ``reference``: the same, graded against `task.reference`. ``pairwise``:
    better than, as good as, or worse than `task.reference`, asked in both orders."""
    scale: int = Field(default=10, ge=1, le=1000)
    """Highest number of points; the score is points / scale."""
    disagreement: Literal["tie", "abstain"] = "tie"
    """Pairwise, where the two orders give different winners: a score of 0.5, or no opinion."""
    pass_at: float | None = Field(default=None, gt=0, le=1)
    """If given, a score of at least this becomes 1 and any other 0."""
    max_characters: int = Field(default=40_000, ge=100)
    """Longest text (prompt, response, reference) shown whole; of a longer one the middle is left out, which the judge
    is told and `details` say."""
    temperature: float | None = Field(default=0.0, ge=0, le=2)
    """Sampling temperature of the judge; None leaves it to the service."""
    max_answer_tokens: int = Field(default=512, ge=16)
    """Tokens that the judge may answer with; an answer cut there is an Error."""
    response_format: Literal["json_object", "json_schema", "text"] = "json_object"
    """How the service is asked for JSON; ``text`` does not ask. The answer is held to the same rules in each case."""
    params: dict[str, Any] = {}
    """More keys of the request's body, such as ``{seed: 1}``."""
    retries: int = Field(default=4, ge=0, le=20)
    """Times that a failed request or an unusable answer is asked again."""
    backoff_s: float = Field(default=0.5, gt=0, le=60)
    """Longest wait before the first repetition; it doubles each time, and the wait is drawn at random below it."""
    request_s: float = Field(default=30.0, gt=0)
    """Seconds for one request."""
    item_s: float = Field(default=60.0, gt=0)
    """Seconds for one completion: all requests, repetitions and waits together. With `request_s` at most 110: the core
    gives an item 120, and a reply that trickles in is noticed late."""
    concurrency: int = Field(default=8, ge=1, le=256)
    """Most requests at once in a batch."""
    seed: int = 0
    """Seed of the waits."""
    cache: Path | None = None
    """A file (SQLite) that keeps answers from run to run; None keeps them in memory."""
    budget: Budget = Budget()
    """What may be spent."""

    @field_validator("endpoint")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        url = urlsplit(value)
        if url.username or url.password or url.query or url.fragment:
            raise ValueError("endpoint must not carry credentials or a query; name the key's variable in api_key_env")
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"endpoint {value!r} must be a URL such as http://host:8000/v1")
        return value.rstrip("/")

    @field_validator("params")
    @classmethod
    def _nothing_reserved(cls, value: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(set(value) & set(RESERVED)):
            raise ValueError(f"params must not hold {', '.join(taken)}: the judge sets them, or has an option for it")
        return value

    @model_validator(mode="after")
    def _one_rubric(self) -> JudgeConfig:
        if (self.rubric is None) == (self.rubric_file is None):
            raise ValueError("give either rubric or rubric_file")
        if self.rubric is not None and not self.rubric.strip():
            raise ValueError("rubric is blank")
        return self

    @model_validator(mode="after")
    def _within_the_cores_limit(self) -> JudgeConfig:
        if self.item_s + self.request_s > ITEM_LIMIT_S - 10:
            raise ValueError(f"item_s + request_s must be at most {ITEM_LIMIT_S - 10:g}")
        return self

    def content_paths(self) -> Sequence[Path]:
        """Return the rubric's file: its text is part of the fingerprint."""
        return () if self.rubric_file is None else (self.rubric_file,)
