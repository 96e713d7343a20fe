"""Collegium: a plugin framework for post-training language models.

The public API. Importing it is light: no torch; `collegium.training` is the substrate that needs ``collegium[train]``.
"""

from collegium.component import (
    Component,
    Config,
    Configurable,
    Kind,
    Use,
    UseAdvantage,
    UseEngine,
    UseEnvironment,
    UseLoss,
    UseReward,
    UseRouter,
    UseSampler,
    UseTeacher,
    UseVerifier,
    UseWeighter,
    component,
)
from collegium.errors import (
    CollegiumError,
    ConfigError,
    DataError,
    EngineError,
    PluginError,
    PolicyError,
    RecipeError,
    StoreError,
    TeacherError,
    VerifierError,
)
from collegium.hookspecs import API, hookimpl
from collegium.kinds.advantage import Advantage
from collegium.kinds.engine import Engine, Generation, SamplingParams
from collegium.kinds.environment import Environment, EnvironmentConfig, Episode
from collegium.kinds.executor import Executor, ExecutorConfig
from collegium.kinds.loss import Loss, LossConfig
from collegium.kinds.reward import RewardContext, RewardSource
from collegium.kinds.router import Route, Router
from collegium.kinds.sampler import Sampler
from collegium.kinds.stage import Stage, StageConfig
from collegium.kinds.tasks import TaskSource
from collegium.kinds.teacher import Teacher, TeacherConfig
from collegium.kinds.tracker import Tracker
from collegium.kinds.verifier import Verifier
from collegium.kinds.weighter import Weighter
from collegium.task import Completion, Demonstration, Message, PicturedText, Sample, Split, Task, Turn
from collegium.verdict import Abstain, Error, Score, Verdict

__all__ = [
    "API",
    "Abstain",
    "Advantage",
    "CollegiumError",
    "Completion",
    "Component",
    "Config",
    "ConfigError",
    "Configurable",
    "DataError",
    "Demonstration",
    "Engine",
    "EngineError",
    "Environment",
    "EnvironmentConfig",
    "Episode",
    "Error",
    "Executor",
    "ExecutorConfig",
    "Generation",
    "Kind",
    "Loss",
    "LossConfig",
    "Message",
    "PicturedText",
    "PluginError",
    "PolicyError",
    "RecipeError",
    "RewardContext",
    "RewardSource",
    "Route",
    "Router",
    "Sample",
    "Sampler",
    "SamplingParams",
    "Score",
    "Split",
    "Stage",
    "StageConfig",
    "StoreError",
    "Task",
    "TaskSource",
    "Teacher",
    "TeacherConfig",
    "TeacherError",
    "Tracker",
    "Turn",
    "Use",
    "UseAdvantage",
    "UseEngine",
    "UseEnvironment",
    "UseLoss",
    "UseReward",
    "UseRouter",
    "UseSampler",
    "UseTeacher",
    "UseVerifier",
    "UseWeighter",
    "Verdict",
    "Verifier",
    "VerifierError",
    "Weighter",
    "component",
    "hookimpl",
]
