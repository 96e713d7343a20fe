"""Every hook of the contract, implemented once."""

import json
import os
import sys
from pathlib import Path

from collegium import component, hookimpl

HERE = "acme_everything.components"
KINDS = {
    "losses": "EveryLoss", "rewards": "EveryReward", "verifiers": "EveryVerifier", "samplers": "EverySampler",
    "routers": "EveryRouter", "stages": "EveryStage", "advantages": "EveryAdvantage", "weighters": "EveryWeighter",
    "teachers": "EveryTeacher", "engines": "EveryEngine", "tasks": "EveryTasks", "executors": "EveryExecutor",
    "trackers": "EveryTracker", "environments": "EveryEnvironment",
}  # fmt: skip
EVENTS = (
    "before_run", "after_run", "on_run_error", "before_stage", "after_stage", "on_stage_error", "after_step",
    "after_rollouts",
)  # fmt: skip


def note(*what: str) -> None:
    """Write down that something was called, from whatever process."""
    with Path(os.environ["ACME_CALLS"]).open("a") as file:
        file.write(json.dumps(what) + "\n")


def _offer(kind: str, name: str):
    return hookimpl(lambda: [component("every", f"{HERE}:{name}", f"Of the hook register_{kind}.")])


def _listen(hook: str):
    @hookimpl
    def listener(event):
        note("event", hook, type(event).__name__, getattr(event, "stage", None) or "")

    return listener


for _kind, _name in KINDS.items():
    setattr(sys.modules[__name__], f"register_{_kind}", _offer(_kind, _name))
for _hook in EVENTS:
    setattr(sys.modules[__name__], _hook, _listen(_hook))
