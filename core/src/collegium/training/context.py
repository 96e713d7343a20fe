"""The stage context: what a stage may use while it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import torch

from collegium.component import Kind, Use
from collegium.environment_host import EnvironmentHost
from collegium.errors import DataError, RecipeError
from collegium.events import RolloutsJudged, StepFinished
from collegium.job import DomainSpec, StageEvent, StageJob
from collegium.judge import Judge, RewardJudge
from collegium.kinds.adaptive import Adaptive
from collegium.kinds.engine import Engine
from collegium.kinds.environment import Environment
from collegium.kinds.reward import RewardContext
from collegium.kinds.stage import Edge
from collegium.kinds.tasks import TaskSource
from collegium.kinds.teacher import Teacher
from collegium.kinds.verifier import Verifier
from collegium.plugins.lifecycle import notify
from collegium.task import Demonstration, PicturedText, Sample, Split, Task
from collegium.training.checkpoint import Checkpoints
from collegium.training.distributed import world
from collegium.training.journal import Journal, finite
from collegium.training.prompt_sets import read_prompts, restrict
from collegium.verdict import Score, Verdict

logger = logging.getLogger(__name__)

Listener: TypeAlias = Callable[[StageEvent], None]


class Components(Protocol):
    """What the context needs of the registry: build a component by name, and its lifecycle hooks."""

    manager: Any

    def build(self, kind: Kind, name: str, options: Mapping[str, Any] | None = None) -> Any:
        """Instantiate a component with its validated options."""


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain as a stage uses it: its tasks, its verifier and, if it has one, its environment, wrapped by the core."""

    name: str
    source: TaskSource
    judge: Judge
    environment: EnvironmentHost | None = None

    def tasks(self, split: Split) -> list[Task]:
        """Return the tasks of a split, marked with the domain's name.

        Raises:
            DataError: If there is none, or a training task's prompt is held out.
        """
        tasks = [replace(task, domain=self.name) for task in self.source.tasks(split)]
        if not tasks:
            raise DataError(
                f"domain {self.name!r} has no {split} task; expected at least one",
                fix="check its task source's options",
            )
        if split == "train":
            self._check_not_held_out(tasks)
        return tasks

    def demonstrations(self) -> list[Demonstration]:
        """Return the demonstrations, their tasks marked with the domain's name.

        Raises:
            DataError: If one is of a held-out task.
        """
        made = [replace(each, task=replace(each.task, domain=self.name)) for each in self.source.demonstrations()]
        self._check_not_held_out([each.task for each in made])
        return made

    def _check_not_held_out(self, tasks: Sequence[Task]) -> None:
        heldout = {task.shown for task in self.source.tasks("heldout")} if tasks else set()
        leaked = [task.id for task in tasks if task.shown in heldout]
        if leaked:
            raise DataError(
                f"domain {self.name!r}: {len(leaked)} training tasks have a held-out prompt, such as {leaked[0]!r}; "
                "scores on them would mean nothing",
                fix="split the task source's tasks by prompt",
            )


class Saved(Protocol):
    """Something whose state, plain data, a checkpoint holds."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore it."""


class StageContext:
    """Everything a stage may use: its job, inputs, domains, components, and where to leave what it makes.

    Args:
        job: The stage job.
        registry: Builds components by name.
        listener: Told of every event.
    """

    def __init__(self, job: StageJob, registry: Components, listener: Listener) -> None:
        self.job = job
        self.registry = registry
        self.listener = listener
        self.directory = Path(job.directory)
        self.output = self.directory / "output"
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.checkpoints = Checkpoints(self.directory / "checkpoints")
        self.journal = Journal(self.directory)
        self.world = world()
        """The stage's ranks. The first one writes and reports; on others, methods that do either do nothing."""
        self.rollouts = 0
        """Completions sampled so far in this stage."""
        self.tokens_generated = 0
        """Tokens sampled so far in this stage."""
        self.evaluation_metrics: dict[str, float] = {}
        """What evaluation counts besides its scores."""
        self.budgets: dict[str, Saved] = {}
        """What a checkpoint holds besides weights: error budgets of verifiers, environments and reward sources, and the
        state of components that adapt."""
        self._adaptive: list[Adaptive] = []
        self._verifiers: dict[str, Verifier] = {}
        self._built_environments: dict[str, Environment] = {}
        self._to_close: list[Any] = []
        self.directory.mkdir(parents=True, exist_ok=True)

    @property
    def seed(self) -> int:
        """The job's seed."""
        return self.job.seed

    @cached_property
    def domains(self) -> dict[str, Domain]:
        """The domains that the stage trains on."""
        return {name: self._domain(spec) for name, spec in self.job.domains.items()}

    @cached_property
    def evaluation_domains(self) -> dict[str, Domain]:
        """The domains that its model is evaluated on; their judges count errors apart from the training's."""
        return {name: self._domain(spec, evaluation=True) for name, spec in self.job.evaluate_on.items()}

    def tasks(self, split: Split) -> dict[str, list[Task]]:
        """Return every domain's tasks of a split; of the training tasks, those that `prompts_from` names.

        Raises:
            DataError: If a domain has none, or `prompts_from` names none of a domain's or one that it does not have.
        """
        found = {name: domain.tasks(split) for name, domain in self.domains.items()}
        folders = self.inputs("prompts_from") if split == "train" else []
        return restrict(found, read_prompts(folders)) if folders else found

    @property
    def environments(self) -> dict[str, EnvironmentHost]:
        """The environments of the domains that have one, by domain."""
        return {name: each.environment for name, each in self.domains.items() if each.environment is not None}

    def demonstrations(self) -> dict[str, list[Demonstration]]:
        """Return every domain's demonstrations; a domain may have none."""
        return {name: domain.demonstrations() for name, domain in self.domains.items()}

    def texts(self) -> dict[str, list[str]]:
        """Return every domain's raw text; a domain may have none."""
        texts = {name: list(domain.source.texts()) for name, domain in self.domains.items()}
        for name, found in texts.items():
            self.refuse_held_out(found, f"the texts of domain {name!r}")
        return texts

    def pictured_texts(self) -> dict[str, list[PicturedText]]:
        """Return every domain's raw text with pictures; a domain may have none.

        Raises:
            DataError: If one shows a picture of a held-out task; scores on that task would mean nothing.
        """
        heldout = {image: task.id for task in self.held_out_tasks for image in task.images}
        found = {name: list(domain.source.pictured_texts()) for name, domain in self.domains.items()}
        for name, texts in found.items():
            leaked = next((heldout[image] for each in texts for image in each.images if image in heldout), None)
            if leaked is not None:
                raise DataError(
                    f"the texts of domain {name!r} show a picture of the held-out task {leaked!r}; scores on it would "
                    "mean nothing",
                    fix="take it out of the training data, or out of the held-out tasks",
                )
        return found

    @cached_property
    def held_out_tasks(self) -> list[Task]:
        """The held-out tasks of every domain that the stage trains or is evaluated on."""
        domains = {**self.evaluation_domains, **self.domains}
        return [task for domain in domains.values() for task in domain.source.tasks("heldout")]

    def refuse_held_out(self, texts: Iterable[str], what: str) -> None:
        """Refuse training text that begins with a held-out prompt.

        Raises:
            DataError: If there is one; scores on that prompt would mean nothing.
        """
        prompts = {task.prompt_text for task in self.held_out_tasks if not task.images} - {""}
        lengths = sorted({len(prompt) for prompt in prompts})
        for text in texts:
            found = next((text[:length] for length in lengths if text[:length] in prompts), None)
            if found is not None:
                raise DataError(
                    f"{what} hold the held-out prompt {found!r}; scores on it would mean nothing",
                    fix="take it out of the training data, or out of the held-out tasks",
                )

    def inputs(self, edge: Edge) -> list[str]:
        """Return the folders or hub names that an edge gives, in the recipe's order."""
        return [artifact.path for artifact in self.job.inputs.get(edge, [])]

    def input(self, edge: Edge) -> str | None:
        """Return the one input of an edge, or None if the recipe gives none.

        Raises:
            RecipeError: If it gives several.
        """
        paths = self.inputs(edge)
        if len(paths) > 1:
            sources = ", ".join(artifact.source for artifact in self.job.inputs[edge])
            raise RecipeError(f"stage {self.job.id!r}: {edge} takes one input, found {sources}", fix="name one")
        return paths[0] if paths else None

    @property
    def init_path(self) -> str:
        """The model that the stage starts from.

        Raises:
            RecipeError: If the recipe gives none.
        """
        path = self.input("init_from")
        if path is None:
            raise RecipeError(
                f"stage {self.job.id!r} needs init_from", fix="add init_from: STAGE or MODEL to the stage"
            )
        return path

    @cached_property
    def teachers(self) -> dict[str, Teacher]:
        """The teachers by name, none of them opened."""
        return {name: self.build(use, "teacher") for name, use in self.job.teachers.items()}

    @cached_property
    def reward_context(self) -> RewardContext:
        """What a reward source is prepared with."""
        judges = {name: domain.judge for name, domain in self.domains.items()}
        return RewardContext(judges, self.inputs("reward_models"), self.build_part)

    def build(self, use: Use, kind: Kind) -> Any:
        """Build a component that the recipe names."""
        component = self.registry.build(kind, use.use, use.options)
        if kind in ("engine", "reward", "verifier", "environment"):
            self._to_close.append(component)
        if isinstance(component, Engine):
            component.prepare(self.build)
        if isinstance(component, Adaptive):
            self._adaptive.append(component)
            self._keep(f"state of {kind} {use.use}", component)
        return component

    def build_reward(self, use: Use) -> RewardJudge:
        """Build a reward source, prepare it, and wrap it with its checks, time limit and error budget."""
        return self._reward_judge(use, self.reward_context, "reward")

    def build_part(
        self, use: Use, kind: Literal["reward", "verifier"], models: Sequence[str] = ()
    ) -> Judge | RewardJudge:
        """Build a verifier or reward source that another reward source is composed of; see `RewardContext.build`."""
        if kind == "reward":
            return self._reward_judge(use, replace(self.reward_context, models=tuple(models)), "part")
        owner, name = _owner(use)
        judge = Judge(self.build(use, "verifier"), owner=owner, name=name, policy=self.job.errors, domain="")
        self._keep(f"part {use.use}", judge.budget)
        return judge

    def _reward_judge(self, use: Use, context: RewardContext, role: str) -> RewardJudge:
        source = self.build(use, "reward")
        source.prepare(context)
        owner, name = _owner(use)
        judge = RewardJudge(source, owner=owner, name=name, policy=self.job.errors)
        self._keep(f"{role} {use.use}", judge.budget)
        return judge

    def _keep(self, name: str, holder: Saved) -> None:
        """Hold a state under a name of its own; components are built in the same order when a stage resumes."""
        number = sum(each.partition(" #")[0] == name for each in self.budgets)
        self.budgets[f"{name} #{number + 1}" if number else name] = holder

    def emit(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Report one optimizer step: to the journal, the listener and the plugins' hooks."""
        own = [each.after_step(step, metrics) for each in self._adaptive]
        if not self.world.is_main:
            return
        numbers = finite({name: value for figures in (metrics, *own) for name, value in figures.items()})
        self.journal.metrics(step, numbers)
        self.listener(StageEvent(stage=self.job.id, kind="step", step=step, total=total, metrics=numbers))
        notify(self.registry, "after_step", StepFinished(self.job.id, step, numbers))

    def message(self, text: str) -> None:
        """Tell the listener something in words."""
        if self.world.is_main:
            self.listener(StageEvent(stage=self.job.id, kind="message", text=text))

    def write_samples(self, step: int, samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> None:
        """Write some judged samples down, and hand all of them to the plugins' hooks."""
        if not self.world.is_main:
            return
        padded = [*verdicts, *[None] * (len(samples) - len(verdicts))]
        rows = [_sample_row(sample, verdict) for sample, verdict in zip(samples, padded, strict=True)]
        self.journal.samples(step, rows)
        if verdicts:
            notify(self.registry, "after_rollouts", RolloutsJudged(self.job.id, step, samples, verdicts))

    def close(self) -> None:
        """Release engines, reward sources, verifiers and environments."""
        for component in dict.fromkeys([*self._to_close, *self._verifiers.values()]):
            try:
                component.close()
            except Exception as error:  # what the stage made stands; the fault is reported
                logger.warning("%s could not close: %s: %s", type(component).__qualname__, type(error).__name__, error)

    def _domain(self, spec: DomainSpec, *, evaluation: bool = False) -> Domain:
        """Build a domain; a verifier that serves training and evaluation is built once, its judges are two."""
        key = spec.model_dump_json()
        if key not in self._verifiers:
            self._verifiers[key] = self.build(spec.verifier, "verifier")
        owner, name = _owner(spec.verifier)
        judge = Judge(self._verifiers[key], owner=owner, name=name, policy=self.job.errors, domain=spec.name)
        if not evaluation:
            self.budgets[f"domain {spec.name}"] = judge.budget
        return Domain(spec.name, self.build(spec.task, "task"), judge, self._host(spec, evaluation=evaluation))

    def _host(self, spec: DomainSpec, *, evaluation: bool) -> EnvironmentHost | None:
        """Build a domain's environment; one that serves training and evaluation is built once."""
        if spec.environment is None:
            return None
        key = spec.model_dump_json()
        if key not in self._built_environments:
            self._built_environments[key] = self.build(spec.environment, "environment")
        owner, name = _owner(spec.environment)
        built = self._built_environments[key]
        host = EnvironmentHost(built, owner=owner, name=name, policy=self.job.errors, domain=spec.name)
        if not evaluation:
            self.budgets[f"environment of domain {spec.name}"] = host.budget
        return host


def _owner(use: Use) -> tuple[str, str]:
    """Split a component id into its distribution and its short name."""
    distribution, _, name = use.use.rpartition("/")
    return distribution or "unknown", name


def _sample_row(sample: Sample, verdict: Verdict | None) -> dict[str, Any]:
    completion = sample.completion
    row = {
        "task": sample.task.id,
        "domain": sample.domain,
        "prompt": sample.task.prompt_text,
        "completion": completion.text if completion else None,
        "finish_reason": completion.finish_reason if completion else None,
    }
    if isinstance(verdict, Score):
        return {**row, "verdict": "score", "value": verdict.value}
    return row if verdict is None else {**row, "verdict": type(verdict).__name__.lower(), "reason": verdict.reason}
