"""What is checked of one stage: its edges, its launch, and the reward models that its reward scores with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from typing import Any, Protocol

from collegium.component import Config
from collegium.kinds.reward import RewardConfig
from collegium.kinds.stage import StageConfig
from collegium.launch_config import LaunchConfig
from collegium.planning.resolve import kind_of
from collegium.plugins.registry import Entry
from collegium.recipe.expand import StageNode

Used = Mapping[str, Entry]
"""The components that a stage names, however deep, by ``kind:id``."""


class Report(Protocol):
    """Takes note of a problem."""

    def __call__(self, path: tuple[str, ...], what: str, fix: str = "", owner: str | None = None) -> None:
        """Note what is wrong at a place of the recipe."""


def check_stage(
    node: StageNode, config: StageConfig, options: Mapping[str, Any], entry: Entry, used: Used, report: Report
) -> None:
    """Report what is wrong with a stage whose options are valid; one that knows no ranks is launched in one process.

    Args:
        node: Its place in the DAG.
        config: Its validated options.
        options: The same as plain JSON, every nested component resolved to its full id.
        entry: Its component.
        used: What it names.
        report: Takes the problems.
    """
    rewarded = any(key.startswith("reward:") for key in used)
    _check_edges(node, config, entry, report, rewarded=rewarded)
    _check_reward_models(node, config, options, used, report)
    _check_launch(node, config, entry, report)


def check_teachers(node: StageNode, teachers: Mapping[str, type[Config]], used: Used, report: Report) -> None:
    """Report teachers that cannot give what the stage's loss reads.

    Args:
        node: The stage's place in the DAG.
        teachers: Teacher name to the class of its options, of those that are components.
        used: What the stage names.
        report: Takes the problems.
    """
    losses = [entry for key, entry in used.items() if key.startswith("loss:")]
    reading = [entry.id for entry in losses if getattr(entry.config_class(), "needs_teacher_states", False)]
    for name, config in teachers.items() if reading else ():
        if not getattr(config, "gives_states", True):
            what = f"{name!r} gives log-probs only, and the loss {reading[0]} reads hidden states"
            report((*node.path, "teachers", name), what, "use a loss on sampled tokens, such as `loss: sampled-token`")


def check_machines(executor: Entry, stages: Iterable[StageNode], report: Report) -> None:
    """Report stages over several machines where the executor starts one; by hand, `COLLEGIUM_MASTER` says they are."""
    if getattr(executor.config_class(), "starts_every_machine", False) or os.environ.get("COLLEGIUM_MASTER"):
        return
    for node in stages:
        if node.launch.nodes > 1:
            what = f"launch.nodes is {node.launch.nodes}, and the executor {executor.id} starts one machine"
            report((*node.path, "launch"), what, "use an executor that starts all of them, such as slurm")
            return


def _check_edges(node: StageNode, config: StageConfig, entry: Entry, report: Report, *, rewarded: bool) -> None:
    owner = entry.record.distribution
    given = {edge for edge, sources in node.inputs.items() if sources}
    if node.teachers:
        given.add("teachers")
    for edge in sorted(config.requires - given):
        report(node.path, f"{entry.id} needs the edge `{edge}`", f"add `{edge}:`", owner)
    taken = config.requires | config.accepts | ({"reward_models"} if rewarded else set())
    for edge in sorted(given - taken):
        allowed = ", ".join(sorted(taken)) or "none"
        report((*node.path, edge), f"{entry.id} takes no `{edge}`; it takes {allowed}", "", owner)


def _check_launch(node: StageNode, config: StageConfig, entry: Entry, report: Report) -> None:
    """Let a stage that knows no ranks run in one process, unless the recipe asks for ranks for it by name."""
    owner = entry.record.distribution
    if what := config.launch_problem(node.launch):
        report((*node.path, "launch"), what, "change the stage's launch", owner)
    needs_deepspeed = config.distributed and node.launch.strategy.startswith("zero")
    if needs_deepspeed and not list(metadata.Distribution.discover(name="deepspeed")):
        what = f"the strategy {node.launch.strategy} needs DeepSpeed, which is not installed"
        fix = "DS_BUILD_OPS=0 pip install --no-build-isolation 'collegium[deepspeed]'"
        report((*node.path, "launch"), what, fix, owner)
    if config.distributed or node.launch.strategy == "single":
        return
    if node.own_launch:
        what = f"{entry.id} runs in one process, found strategy {node.launch.strategy!r}"
        report((*node.path, "launch"), what, "leave the stage's launch out", owner)
    node.launch = LaunchConfig()


def _check_reward_models(
    node: StageNode, config: StageConfig, options: Mapping[str, Any], used: Used, report: Report
) -> None:
    """Compare the edge `reward_models` with what the stage's reward source scores with."""
    given = len(node.inputs.get("reward_models", []))
    for name, reward in rewards_in(config, options):
        needed, owner = _models_needed(reward, used)
        if needed and given != needed:
            what = f"scores with {needed} reward models, found {given}"
            report((*node.path, name), what, "add `reward_models: [STAGE, ...]`", owner)


def _models_needed(reward: Mapping[str, Any], used: Used) -> tuple[int, str]:
    """Return how many models a resolved reward source needs, and the distribution that says so.

    One that does not say hands the models that it gets on to each of the sources that it names.
    """
    entry = used[f"reward:{reward['use']}"]
    config = entry.config_class().model_validate(reward["options"])
    if isinstance(config, RewardConfig) and type(config).models_needed is not RewardConfig.models_needed:
        return config.models_needed(), entry.record.distribution
    inner = [_models_needed(each, used) for _, each in rewards_in(config, reward["options"])]
    return max(inner, default=(0, entry.record.distribution))


def rewards_in(config: Config, plain: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the resolved reward sources that options name, each with the option that it is in.

    Args:
        config: The options.
        plain: The same as plain JSON; what is not resolved (its problem is known) is None.
    """
    for name, field in type(config).model_fields.items():
        kind = kind_of(field)
        if kind == "reward":
            yield from ((name, each) for each in _resolved(plain[name]))
        elif kind is None:
            yield from ((name, each) for each in _inside(getattr(config, name), plain[name]))


def _inside(value: Any, plain: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the resolved reward sources of configs in an option's value, in lists and tables too."""
    if isinstance(value, Config):
        yield from (each for _, each in rewards_in(value, plain))
    elif isinstance(value, dict) and isinstance(plain, dict):
        for item, inner in zip(value.values(), plain.values(), strict=True):
            yield from _inside(item, inner)
    elif isinstance(value, (list, tuple)) and isinstance(plain, list):
        for item, inner in zip(value, plain, strict=True):
            yield from _inside(item, inner)


def _resolved(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the components in an option's plain value: one, or a list or table of them."""
    if isinstance(value, Mapping) and set(value) == {"use", "options"}:
        yield value
    elif isinstance(value, (Mapping, list)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _resolved(item)
