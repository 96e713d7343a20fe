"""The plan: every stage resolved, every route probed, every fingerprint known; nothing is changed."""

from __future__ import annotations

import graphlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collegium.component import Config, Use
from collegium.errors import CollegiumError, Problem, RecipeError
from collegium.job import DomainSpec
from collegium.kinds.stage import Artifact, Edge, StageConfig
from collegium.model_files import check_model_folder, is_local
from collegium.planning.cards import check_cards
from collegium.planning.fingerprint import file_digest, folder_digest
from collegium.planning.fingerprints import Fingerprints
from collegium.planning.requirements import check_requirements
from collegium.planning.resolve import Resolver
from collegium.planning.routes import probe_routes
from collegium.planning.stage_checks import check_machines, check_stage, check_teachers
from collegium.plugins.registry import Entry, Registry
from collegium.recipe.expand import Expansion, StageNode
from collegium.recipe.load import LoadedRecipe
from collegium.recipe.model import Recipe, StageEntry

CHECKPOINT_TEACHER = "collegium/checkpoint"
TAKES: Mapping[Edge, tuple[Artifact, ...]] = {
    "init_from": ("model", "reward_model"),
    "average_of": ("model", "reward_model"),
    "data_from": ("data",),
    "prompts_from": ("data",),
    "reward_models": ("model", "reward_model"),
}
"""What each edge can take; the edges that are not here take models."""


@dataclass(slots=True)
class PlannedStage:
    """A stage ready to run.

    Args:
        node: Its place in the DAG.
        entry: Its component.
        config: Its validated options.
        options: The same as plain JSON, every nested component resolved to its full id.
        teachers: Teacher name to resolved component; for a stage's or model's checkpoint, its path is filled in at run.
        routes: Domain to what the router says: a teacher's name, or weights over names.
        components: The entries that it uses, itself included, by ``kind:id``.
        contents: Digests of the files and folders that its options name.
        fingerprint: Digest of all that its artifact depends on.
        own_fingerprint: The same without its inputs and teachers: whether the stage itself changed.
        packages: Distributions that its numbers stand on.
        scores_fingerprint: Digest of all that its evaluation depends on; empty when it is not evaluated.
    """

    node: StageNode
    entry: Entry
    config: StageConfig
    options: dict[str, Any]
    seed: int
    teachers: dict[str, str | Use] = field(default_factory=dict)
    routes: dict[str, Any] = field(default_factory=dict)
    components: dict[str, Entry] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    own_fingerprint: str = ""
    packages: list[str] = field(default_factory=list)
    scores_fingerprint: str = ""

    @property
    def id(self) -> str:
        """The node's id."""
        return self.node.id


@dataclass(slots=True)
class Plan:
    """All stages in an order in which they can run, with what they stand on."""

    loaded: LoadedRecipe
    registry: Registry
    stages: dict[str, PlannedStage]
    domains: dict[str, DomainSpec]
    entries: dict[str, Entry]
    executor: Use
    trackers: list[Use]
    data_digests: dict[str, dict[str, str]]
    model_digests: dict[str, str]
    domain_digests: dict[str, str] = field(default_factory=dict)
    domain_packages: dict[str, list[str]] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """The typed recipe."""
        return self.loaded.recipe


def make_plan(loaded: LoadedRecipe, registry: Registry) -> Plan:
    """Resolve and check a recipe.

    Raises:
        RecipeError: With every problem found, each with file, line, owner and fix.
    """
    return _Planner(loaded, registry).plan()


class _Planner:
    def __init__(self, loaded: LoadedRecipe, registry: Registry) -> None:
        self.loaded = loaded
        self.recipe = loaded.recipe
        self.registry = registry
        self.resolver = Resolver(registry, loaded.sources)
        self.problems: list[Problem] = []

    def problem(self, path: tuple[str, ...], what: str, fix: str = "", owner: str | None = None) -> None:
        where = self.loaded.sources.locate(path)
        self.problems.append(Problem(f"{'.'.join(path)}: {what}", fix, owner, where))

    def plan(self) -> Plan:
        self.problems.extend(check_requirements(self.recipe, self.registry, self.loaded.sources))
        domains, data_digests, domain_entries = self._domains()
        expansion = Expansion(self.loaded)
        self.problems.extend(expansion.problems)
        stages = {node.id: stage for node in expansion.nodes if (stage := self._stage(node)) is not None}
        executor = self.resolver.use("executor", self.recipe.executor, ("executor",))
        trackers = [
            self.resolver.use("tracker", tracker, ("trackers", str(index)))
            for index, tracker in enumerate(self.recipe.trackers)
        ]
        model_digests = self._model_digests()
        self._fail_if_any()
        if executor is not None:
            nodes = [stage.node for stage in stages.values()]
            check_machines(self.resolver.used[f"executor:{executor.use}"], nodes, self.problem)
        order = self._order(stages)
        self._check_artifacts(stages)
        self.problems.extend(check_cards(self.resolver.used.values(), self._teachers(stages)))
        for stage in stages.values():
            if stage.teachers:
                self.problems.extend(probe_routes(stage, domains, self.registry, self.loaded.sources))
        self._fail_if_any()
        ordered = {node_id: stages[node_id] for node_id in order}
        plan = Plan(
            self.loaded, self.registry, ordered, domains, dict(self.resolver.used), executor or self.recipe.executor,
            [tracker for tracker in trackers if tracker], data_digests, model_digests,
        )  # fmt: skip
        Fingerprints(plan, domain_entries).fill()
        return plan

    def _fail_if_any(self) -> None:
        problems = list(dict.fromkeys([*self.problems, *self.resolver.problems]))
        if problems:
            raise RecipeError.of(problems)

    def _domains(self) -> tuple[dict[str, DomainSpec], dict[str, dict[str, str]], dict[str, list[Entry]]]:
        specs: dict[str, DomainSpec] = {}
        digests: dict[str, dict[str, str]] = {}
        entries: dict[str, list[Entry]] = {}
        for name, domain in self.recipe.domains.items():
            path = ("domains", name)
            task = self.resolver.use("task", domain.task, (*path, "task"))
            verifier = self.resolver.use("verifier", domain.verifier, (*path, "verifier"))
            asked = domain.environment
            environment = asked and self.resolver.use("environment", asked, (*path, "environment"))
            if task is None or verifier is None or (asked is not None and environment is None):
                continue
            specs[name] = DomainSpec(name=name, task=task, verifier=verifier, environment=environment)
            used = [("task", task), ("verifier", verifier), *([("environment", environment)] if environment else [])]
            entries[name] = [self.resolver.used[f"{kind}:{use.use}"] for kind, use in used]
            digests[name] = self._task_files(specs[name])
        return specs, digests, entries

    def _task_files(self, domain: DomainSpec) -> dict[str, str]:
        """Digest a domain's data files, and check that verifier and environment are those that its tasks are for."""
        name, task, verifier = domain.name, domain.task, domain.verifier
        path = ("domains", name, "task")
        entry = self.resolver.used[f"task:{task.use}"]
        owner = entry.record.distribution
        try:
            source = self.registry.build("task", task.use, task.options)
            wanted = source.verifier
            if wanted is not None and verifier.use.rpartition("/")[2] != wanted:
                self.problem(
                    ("domains", name, "verifier"),
                    f"{verifier.use!r} cannot judge the tasks of {task.use!r}, which carry fields for {wanted!r}",
                    f"verifier: {wanted}",
                    owner,
                )
            if source.environment is not None and _short(domain.environment) != source.environment:
                self.problem(
                    ("domains", name, "environment" if domain.environment else "task"),
                    f"the tasks of {task.use!r} are made for the environment {source.environment!r}, found "
                    f"{domain.environment.use if domain.environment else 'none'!r}",
                    f"environment: {source.environment}",
                    owner,
                )
            return {str(file): file_digest(Path(file)) for file in source.files()}
        except CollegiumError as error:
            for problem in error.problems:
                self.problem(path, problem.what, problem.fix, problem.owner or owner)
        except (Exception, SystemExit) as error:
            self.problem(path, f"{type(error).__name__}: {error}", f"report it to {owner}", owner)
        return {}

    def _stage(self, node: StageNode) -> PlannedStage | None:
        outer, self.resolver.used, self.resolver.contents = self.resolver.used, {}, {}
        try:
            return self._resolve_stage(node)
        finally:
            outer.update(self.resolver.used)
            self.resolver.used = outer

    def _resolve_stage(self, node: StageNode) -> PlannedStage | None:
        entry = self.resolver.find("stage", node.use, (*node.path, "use"))
        if entry is None:
            return None
        config = self.resolver.config(entry, node.options, node.path, tuple(StageEntry.model_fields))
        if config is None:
            return None
        options = self.resolver.dump(config, node.path)
        check_stage(node, config, options, entry, self.resolver.used, self.problem)
        stage = PlannedStage(node, entry, config, options, self._seed(node))
        for name, teacher in node.teachers.items():
            if isinstance(teacher, Use):
                resolved = self.resolver.use("teacher", teacher, (*node.path, "teachers", name))
                if resolved is not None:
                    stage.teachers[name] = resolved
            else:
                self.resolver.find("teacher", CHECKPOINT_TEACHER, (*node.path, "teachers", name))
                stage.teachers[name] = teacher
        own = {name: teacher for name, teacher in stage.teachers.items() if isinstance(teacher, Use)}
        configs = {name: self.resolver.used[f"teacher:{teacher.use}"].config_class() for name, teacher in own.items()}
        check_teachers(node, configs, self.resolver.used, self.problem)
        stage.components, stage.contents = dict(self.resolver.used), dict(self.resolver.contents)
        return stage

    def _seed(self, node: StageNode) -> int:
        if node.seed is not None:
            return node.seed
        return int.from_bytes(hashlib.sha256(f"{self.recipe.seed}/{node.id}".encode()).digest()[:4], "big")

    def _model_digests(self) -> dict[str, str]:
        digests = {}
        for name, model in self.recipe.models.items():
            if not is_local(model.path):
                digests[name] = f"hub:{model.path}"  # a hub name: its revision is the hub's business
                continue
            try:
                check_model_folder(model.path)
                digests[name] = folder_digest(Path(model.path))
            except CollegiumError as error:
                self.problem(("models", name, "path"), error.problems[0].what, error.problems[0].fix)
        return digests

    def _order(self, stages: Mapping[str, PlannedStage]) -> list[str]:
        graph = {
            stage.id: {source for sources in stage.node.inputs.values() for source in sources if source in stages}
            for stage in stages.values()
        }
        try:
            return list(graphlib.TopologicalSorter(graph).static_order())
        except graphlib.CycleError as error:
            cycle = [str(node) for node in error.args[1]][::-1]
            path = stages[cycle[0]].node.path
            self.problem(path, f"the stages wait for each other in a cycle: {' -> '.join(cycle)}", "break one edge")
            self._fail_if_any()
            raise

    def _teachers(self, stages: Mapping[str, PlannedStage]) -> Iterator[tuple[Entry, Config]]:
        """Yield the teachers that are components, with their options."""
        for stage in stages.values():
            for teacher in stage.teachers.values():
                if isinstance(teacher, Use):
                    entry = self.registry.find("teacher", teacher.use)
                    yield entry, entry.config_class().model_validate(teacher.options)

    def _check_artifacts(self, stages: Mapping[str, PlannedStage]) -> None:
        for stage in stages.values():
            for edge, sources in stage.node.inputs.items():
                for source in sources:
                    made = stages[source].config.produces if source in stages else "model"
                    if made not in TAKES.get(edge, ("model",)):
                        self.problem(
                            (*stage.node.path, edge), f"{source!r} leaves a {made}, which `{edge}` cannot take"
                        )


def _short(use: Use | None) -> str | None:
    """Return a component's short name."""
    return None if use is None else use.use.rpartition("/")[2]
