"""One component of each kind, which does what a first-party one does and writes down that it was used."""

import os

from acme_everything.plugin import note
from collegium import Environment, Episode, Tracker
from collegium.builtin_components.engine import TransformersEngine
from collegium.builtin_components.executors import InProcessExecutor
from collegium.builtin_components.reward import DomainVerifierReward
from collegium.builtin_components.samplers import ShuffledSampler
from collegium.builtin_components.teacher import CheckpointTeacher
from collegium.testing.toy_domain import ToyTasks, ToyVerifier
from collegium_grpo.advantage import Outcome
from collegium_grpo.loss import ClippedLoss
from collegium_grpo.stage import GrpoStage
from collegium_mopd.routers import ByDomain
from collegium_mopd.weighters import Balanced


def noting(kind, base, method):
    """Return a subclass whose method writes down the kind before it does its work."""

    def noted(self, *arguments):
        note("used", kind)
        if os.environ.get("ACME_FAIL") == kind:
            raise RuntimeError(f"the {kind} was told to fail")
        return getattr(base, method)(self, *arguments)

    return type(f"Every{kind.title()}", (base,), {method: noted, "__module__": __name__, "__doc__": base.__doc__})


class MetricsTracker(Tracker):
    """Keep nothing."""

    def log(self, stage, step, metrics):
        """Take a step's metrics."""


class OneTurn(Episode):
    """Over after the first turn."""

    def reply(self, text):
        """End the episode."""


class OneTurnEnvironment(Environment):
    """Open episodes of one turn."""

    def open(self, task):
        """Begin an episode."""
        return OneTurn()


EveryLoss = noting("loss", ClippedLoss, "per_token")
EveryReward = noting("reward", DomainVerifierReward, "score")
EveryVerifier = noting("verifier", ToyVerifier, "verify")
EverySampler = noting("sampler", ShuffledSampler, "draw")
EveryRouter = noting("router", ByDomain, "route")
EveryStage = noting("stage", GrpoStage, "run")
EveryAdvantage = noting("advantage", Outcome, "per_token")
EveryWeighter = noting("weighter", Balanced, "weights")
EveryTeacher = noting("teacher", CheckpointTeacher, "open")
EveryEngine = noting("engine", TransformersEngine, "generate")
EveryTasks = noting("task", ToyTasks, "tasks")
EveryTasks.verifier = "every"
EveryExecutor = noting("executor", InProcessExecutor, "execute")
EveryTracker = noting("tracker", MetricsTracker, "log")
EveryEnvironment = noting("environment", OneTurnEnvironment, "open")
