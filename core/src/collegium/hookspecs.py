"""The hooks, on one page. A plugin implements any of them in the module that its entry point names.

Every ``register_*`` hook returns the plugin's components of one kind; they are imported only when a recipe uses them.
Every lifecycle hook is told of one event and returns nothing; an exception in one is reported with its owner and does
not stop the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collegium import events
    from collegium.component import Component

hookspec = pluggy.HookspecMarker("collegium")
hookimpl = pluggy.HookimplMarker("collegium")

API = 1
"""Version of this contract. A plugin may declare ``collegium_api = 1`` in its module; another number is refused."""


@hookspec
def register_losses() -> Sequence[Component]:
    """Offer losses (`collegium.Loss`): per-token losses, pure functions of tensors."""
    raise NotImplementedError


@hookspec
def register_rewards() -> Sequence[Component]:
    """Offer reward sources (`collegium.RewardSource`): score batches of samples with any finite number."""
    raise NotImplementedError


@hookspec
def register_verifiers() -> Sequence[Component]:
    """Offer verifiers (`collegium.Verifier`): judge one completion of one task in [0, 1]."""
    raise NotImplementedError


@hookspec
def register_samplers() -> Sequence[Component]:
    """Offer samplers (`collegium.Sampler`): choose a step's prompts and which groups are kept."""
    raise NotImplementedError


@hookspec
def register_routers() -> Sequence[Component]:
    """Offer teacher routers (`collegium.Router`): name the teacher of each sample."""
    raise NotImplementedError


@hookspec
def register_stages() -> Sequence[Component]:
    """Offer stages (`collegium.Stage`): the nodes of a recipe's DAG."""
    raise NotImplementedError


@hookspec
def register_advantages() -> Sequence[Component]:
    """Offer advantage terms (`collegium.Advantage`): per-token terms that are summed."""
    raise NotImplementedError


@hookspec
def register_weighters() -> Sequence[Component]:
    """Offer weighters (`collegium.Weighter`): how much each sequence counts in the loss."""
    raise NotImplementedError


@hookspec
def register_teachers() -> Sequence[Component]:
    """Offer teachers (`collegium.Teacher`): models that score the student's tokens."""
    raise NotImplementedError


@hookspec
def register_engines() -> Sequence[Component]:
    """Offer engines (`collegium.Engine`): generate completions and record behaviour log-probs."""
    raise NotImplementedError


@hookspec
def register_tasks() -> Sequence[Component]:
    """Offer task sources (`collegium.TaskSource`): tasks, held-out sets and demonstrations of a domain."""
    raise NotImplementedError


@hookspec
def register_executors() -> Sequence[Component]:
    """Offer executors (`collegium.Executor`): where stages run."""
    raise NotImplementedError


@hookspec
def register_trackers() -> Sequence[Component]:
    """Offer trackers (`collegium.Tracker`): receive the run's metrics."""
    raise NotImplementedError


@hookspec
def register_environments() -> Sequence[Component]:
    """Offer environments (`collegium.Environment`): what a model talks to over several turns, such as a tool."""
    raise NotImplementedError


@hookspec
def before_run(event: events.RunStarted) -> None:
    """Be told that a run begins, before its first stage."""


@hookspec
def after_run(event: events.RunFinished) -> None:
    """Be told that a run completed, after its report is written."""


@hookspec
def on_run_error(event: events.RunFailed) -> None:
    """Be told that a run stopped with an error."""


@hookspec
def before_stage(event: events.StageStarted) -> None:
    """Be told, in the worker, that a stage begins."""


@hookspec
def after_stage(event: events.StageFinished) -> None:
    """Be told, in the worker, that a stage completed."""


@hookspec
def on_stage_error(event: events.StageFailed) -> None:
    """Be told, in the worker, that a stage stopped with an error."""


@hookspec
def after_step(event: events.StepFinished) -> None:
    """Be told, in the worker, of each optimizer step's metrics."""


@hookspec
def after_rollouts(event: events.RolloutsJudged) -> None:
    """Be told, in the worker, of each judged batch of rollouts."""
