"""The stage job: everything a worker needs to run one stage, as plain JSON."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from collegium.component import Config, Use
from collegium.kinds.engine import SamplingParams
from collegium.kinds.stage import Edge
from collegium.launch_config import LaunchConfig


class DomainSpec(Config):
    """A domain as the plan resolved it: full component ids and validated options."""

    name: str
    task: Use
    verifier: Use
    environment: Use | None = None


class ErrorPolicy(Config):
    """What verifier errors may cost before the core acts."""

    budget: float = Field(default=0.01, ge=0, le=1)
    """Share of a component's verdicts in a stage that may be `Error`, in [0, 1]."""
    grace: int = Field(default=20, ge=0)
    """Verdicts before the share is looked at."""
    on_exceeded: Literal["stop", "quarantine"] = "stop"
    """``stop`` the run, or ``quarantine`` the domain: leave its samples out from then on."""


class EvaluationSpec(Config):
    """How models are evaluated on the held-out tasks: greedy, one completion per task."""

    sampling: SamplingParams = SamplingParams(max_tokens=64, temperature=0.0)
    """Decoding; greedy by default."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many held-out tasks per domain, drawn once and for all; None takes all."""
    batch: int = Field(default=128, ge=1)
    """Prompts generated at once."""
    min_scored: float = Field(default=0.9, ge=0, le=1)
    """Share of the held-out tasks that must get a score; verifiers that abstain or fail on more are refused."""


class InputArtifact(Config):
    """An artifact that a stage reads: the stage (or model name) it comes from and the folder or hub name it lies in."""

    source: str
    path: str


class StageJob(Config):
    """One stage, ready to run anywhere that has the same packages installed."""

    id: str
    fingerprint: str = ""
    """Digest of all that the artifact depends on; a checkpoint of another one is of no use."""
    use: str
    """Full component id, ``distribution/name``."""
    options: dict[str, Any]
    seed: int
    domain: str | None = None
    """The domain of a `for_each: domain` stage; None sees all of `domains`."""
    domains: dict[str, DomainSpec]
    """The domains that the stage trains on."""
    evaluate_on: dict[str, DomainSpec]
    """The domains that its model is evaluated on; empty for none."""
    evaluation: EvaluationSpec = EvaluationSpec()
    errors: ErrorPolicy = ErrorPolicy()
    inputs: dict[Edge, list[InputArtifact]] = {}
    teachers: dict[str, Use] = {}
    """Teacher name to teacher component, with its checkpoint filled in; for edge ``teachers``."""
    directory: str
    """Where the worker keeps checkpoints, metrics, samples, and leaves ``output/``."""
    checkpoint_every: int = 20
    """Optimizer steps between checkpoints."""
    threads: int = 1
    """CPU threads that the worker may use for tensor work."""
    launch: LaunchConfig = LaunchConfig()
    """How its training is spread over processes."""
    train: bool = True
    """False when the artifact is already in the store (at `directory`/output) and only its evaluation is missing."""
    model: str | None = None
    """With `train` false: the model to evaluate (folder or hub name); default the one in `directory`/output/model."""
    blocked: tuple[str, ...] = ()
    """Distributions that must not be loaded."""


class StageEvent(Config):
    """What a worker reports while it runs."""

    stage: str
    kind: Literal["started", "step", "evaluated", "message"]
    step: int = 0
    total: int = 0
    metrics: dict[str, float] = {}
    text: str = ""


class StageOutcome(Config):
    """How a job ended."""

    stage: str
    status: Literal["completed", "failed"]
    seconds: float
    metrics: dict[str, float] = {}
    scores: dict[str, float] = {}
    """Domain to held-out score in [0, 1]."""
    rollouts: int = 0
    tokens_generated: int = 0
    problem: str = ""
    """Why it failed, as the user should read it."""
    owner: str | None = None
    kind: str = ""
    """The error's class name."""
