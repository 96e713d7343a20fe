"""The recipe's typed form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from collegium.component import Config, OfKind, Use
from collegium.job import ErrorPolicy, EvaluationSpec
from collegium.launch_config import LaunchConfig
from collegium.recipe.shape import ModelShape

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]


class DomainConfig(Config):
    """A domain: where its tasks come from and who judges them."""

    task: Annotated[Use, OfKind("task")]
    """Task source."""
    verifier: Annotated[Use, OfKind("verifier")]
    """Verifier of the domain's completions."""
    environment: Annotated[Use, OfKind("environment")] | None = None
    """What the model talks to over several turns. Default: nothing, a completion is one turn."""


class RequirementConfig(Config):
    """A needed distribution: ``name>=1.2``, ``{name: ">=1.2"}`` or ``{name: {version: ..., conformance: ...}}``."""

    name: str
    """The distribution."""
    version: str = ""
    """Its version range, such as ``>=1.3,<2``; empty takes any."""
    conformance: bool | Literal["local"] = False
    """Demand a passed report of `collegium check` on the installed code; `local`: one that was made here."""

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            name = re.match(r"\s*[A-Za-z0-9._-]*", value)
            return {"name": name[0].strip(), "version": value[name.end() :]} if name else value
        if not isinstance(value, Mapping) or len(value) != 1 or "name" in value:
            return value
        ((name, asked),) = value.items()
        if not isinstance(asked, Mapping):
            return {"name": name, "version": "" if asked is None else asked}
        if "name" in asked:
            raise ValueError("unknown key 'name'; the key before it names the distribution")
        return {"name": name, **asked}


class ModelConfig(Config):
    """A model from outside the recipe."""

    path: str
    """Local folder (relative to the current directory) or hub name."""
    shape: ModelShape | None = None
    """Its sizes, for the plan's estimate of memory where `path` is a hub name: the hub is not asked."""


class AdmissionConfig(Config):
    """The gate that a teacher passes before it teaches."""

    margin: float = Field(default=0.02, ge=-1, le=1)
    """Held-out score on its own domain by which a teacher must beat the student's start; `self` is exempt."""
    unscored: Literal["refuse", "admit"] = "refuse"
    """What to do with a teacher that cannot be evaluated here, such as a served one."""


class Recipe(Config):
    """A whole post-training history."""

    collegium: Literal[1]
    """Version of the recipe format."""
    name: Name
    """Name of the run directory, too."""
    description: str = ""
    """One line for people."""
    requires: list[RequirementConfig] = []
    """Distributions with version ranges, as in ``collegium-sft>=0.1``; a list, or a mapping by name."""
    profile: str = "lab"
    """Which entry of `profiles` is laid over the recipe."""
    profiles: dict[str, dict[str, Any]] = {}
    """Patches by profile: sizes, engines, launchers; the stages stay the same."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of everything; each stage derives its own from it."""
    models: dict[Name, ModelConfig] = {}
    """Models from outside, by name, for `init_from` and `reference`."""
    domains: dict[Name, DomainConfig] = {}
    """Domains by name."""
    stages: dict[Name, dict[str, Any]]
    """Stages (or groups with `rounds`) by name."""
    evaluation: EvaluationSpec = EvaluationSpec()
    """How every model is evaluated on every domain's held-out tasks."""
    admission: AdmissionConfig = AdmissionConfig()
    """The gate for teachers."""
    errors: ErrorPolicy = ErrorPolicy()
    """What verifier errors may cost."""
    executor: Annotated[Use, OfKind("executor")] = Use(use="collegium/in-process")
    """Where stages run."""
    launch: LaunchConfig = LaunchConfig()
    """How each stage's training is spread over processes and machines."""
    trackers: list[Annotated[Use, OfKind("tracker")]] = []
    """Where metrics go besides the run directory."""
    checkpoint_every: int = Field(default=20, ge=1)
    """Optimizer steps between checkpoints."""
    threads: int = Field(default=1, ge=1, le=1024)
    """CPU threads per stage."""

    @field_validator("requires", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        return [{name: asked} for name, asked in value.items()] if isinstance(value, Mapping) else value

    @field_validator("stages")
    @classmethod
    def _some_stage(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not value:
            raise ValueError("a recipe needs at least one stage")
        return value


class StageEntry(Config):
    """The keys of a stage that the core reads; all others are the stage's own options."""

    use: str
    """Stage component."""
    for_each: Literal["domain"] | None = None
    """Fan out: one stage per domain, named ``stage-domain``."""
    domains: list[str] | None = None
    """Train on these domains only; default all."""
    per: dict[str, dict[str, Any]] = {}
    """With `for_each`: options that differ for one domain."""
    seed: int | None = None
    """Seed of this stage; default derived from the recipe's and the stage's name."""
    evaluate: bool = True
    """Evaluate the resulting model on every domain."""
    launch: LaunchConfig | None = None
    """How this stage is spread, where it differs from the recipe's `launch`."""
    init_from: Any = None
    """Weights to start from: a stage or model."""
    reference: Any = None
    """KL reference: a stage or model."""
    generate_from: Any = None
    """Models whose rollouts become data."""
    average_of: Any = None
    """Models whose weights are averaged."""
    data_from: Any = None
    """Stages whose data is trained on."""
    prompts_from: Any = None
    """Stages whose `prompts.jsonl` names the training tasks to use; of several, all that any names."""
    reward_models: Any = None
    """Reward models that the stage's reward source scores with, in the order that it reads them."""
    teachers: dict[str, Any] | None = None
    """``{from: STAGE}`` and/or teacher name to ``self``, ``{stage: S}`` or ``{use: teacher-component, ...}``."""


class GroupEntry(Config):
    """A group of stages that is repeated."""

    rounds: int = Field(ge=1, le=1000)
    """How often; stages are named ``group-rN-stage``."""
    stages: dict[Name, dict[str, Any]]
    """The group's stages."""
