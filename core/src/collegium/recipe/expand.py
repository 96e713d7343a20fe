"""Expand a recipe's stages into the nodes of its DAG: `for_each`, `rounds`, and every edge resolved to node ids."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from collegium.component import Use
from collegium.errors import Problem
from collegium.kinds.stage import Edge
from collegium.launch_config import LaunchConfig
from collegium.recipe.load import LoadedRecipe
from collegium.recipe.model import GroupEntry, StageEntry
from collegium.recipe.problems import problems_of

WEIGHT_EDGES: tuple[Edge, ...] = ("init_from", "reference")
MANY_EDGES: tuple[Edge, ...] = ("generate_from", "average_of", "data_from", "prompts_from", "reward_models")


@dataclass(slots=True)
class StageNode:
    """One stage of the expanded DAG.

    Args:
        id: Unique id, such as ``teacher-math`` or ``loop-r2-dpo``.
        use: The stage component as the recipe names it.
        options: The stage's own options, as written.
        path: Key path of the entry in the recipe.
        domain: The domain of a fanned-out stage.
        domains: The domains it trains on.
        inputs: Edge to node ids or model names, resolved.
        teachers: Teacher name to a node id, ``self``, or a teacher component.
        launch: How it is spread over processes.
        own_launch: Whether the recipe says so for this stage itself.
    """

    id: str
    use: str
    options: dict[str, Any]
    path: tuple[str, ...]
    domain: str | None
    domains: tuple[str, ...]
    seed: int | None
    evaluate: bool
    launch: LaunchConfig
    own_launch: bool
    inputs: dict[Edge, list[str]] = field(default_factory=dict)
    teachers: dict[str, str | Use] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A stage entry in its scope: the group and round that it stands in, if any."""

    name: str
    raw: StageEntry
    options: dict[str, Any]
    path: tuple[str, ...]
    group: str | None = None
    round: int = 0

    def base_id(self) -> str:
        return self.name if self.group is None else f"{self.group}-r{self.round}-{self.name}"


class Expansion:
    """Expands a loaded recipe; collects every problem instead of stopping at the first."""

    def __init__(self, loaded: LoadedRecipe) -> None:
        self.recipe = loaded.recipe
        self.sources = loaded.sources
        self.problems: list[Problem] = []
        self.rounds: dict[str, int] = {}
        self.entries: list[_Entry] = list(self._read_entries())
        self.members: dict[str, dict[str | None, str]] = {
            entry.base_id(): dict(self._member_ids(entry)) for entry in self.entries
        }
        self.nodes: list[StageNode] = [node for entry in self.entries for node in self._expand(entry)]
        self._check_unique()

    def problem(self, path: Sequence[str], what: str, fix: str = "") -> None:
        """Record a fault at a key path."""
        self.problems.append(Problem(f"{'.'.join(path)}: {what}", fix, None, self.sources.locate(path)))

    # Reading the entries

    def _read_entries(self) -> Iterator[_Entry]:
        for name, raw in self.recipe.stages.items():
            path: tuple[str, ...] = ("stages", name)
            if "rounds" not in raw:
                yield from self._read_stage(name, raw, path, None, 0)
                continue
            try:
                group = GroupEntry.model_validate(raw)
            except ValidationError as error:
                self.problems.extend(problems_of(error, GroupEntry, path, self.sources))
                continue
            self.rounds[name] = group.rounds
            for number in range(1, group.rounds + 1):
                for inner, inner_raw in group.stages.items():
                    yield from self._read_stage(inner, inner_raw, (*path, "stages", inner), name, number)

    def _read_stage(
        self, name: str, raw: Mapping[str, Any], path: tuple[str, ...], group: str | None, number: int
    ) -> Iterator[_Entry]:
        own = {key: value for key, value in raw.items() if key in StageEntry.model_fields}
        options = {key: value for key, value in raw.items() if key not in StageEntry.model_fields}
        try:
            yield _Entry(name, StageEntry.model_validate(own), options, path, group, number)
        except ValidationError as error:
            if number <= 1:  # one problem per line of text, not per round
                self.problems.extend(problems_of(error, StageEntry, path, self.sources))

    def _member_ids(self, entry: _Entry) -> Iterator[tuple[str | None, str]]:
        if entry.raw.for_each is None:
            yield None, entry.base_id()
            return
        for domain in self._domains_of(entry):
            yield domain, f"{entry.base_id()}-{domain}"

    def _domains_of(self, entry: _Entry) -> tuple[str, ...]:
        chosen = entry.raw.domains
        if chosen is None:
            return tuple(self.recipe.domains)
        for domain in chosen:
            if domain not in self.recipe.domains:
                self.problem((*entry.path, "domains"), f"no domain {domain!r}; there are {self._names('domains')}")
        return tuple(domain for domain in chosen if domain in self.recipe.domains)

    def _names(self, section: str) -> str:
        return ", ".join(getattr(self.recipe, section)) or "none"

    # Nodes and edges

    def _expand(self, entry: _Entry) -> Iterator[StageNode]:
        raw = entry.raw
        for name in raw.per:
            if raw.for_each is None or name not in self._domains_of(entry):
                self.problem((*entry.path, "per", name), f"`per` names {name!r}, which this stage has no member for")
        for domain, node_id in self.members[entry.base_id()].items():
            options = {**entry.options, **raw.per.get(domain or "", {})}
            domains = (domain,) if domain else self._domains_of(entry)
            launch, own = raw.launch or self.recipe.launch, raw.launch is not None
            node = StageNode(
                node_id, raw.use, options, entry.path, domain, domains, raw.seed, raw.evaluate, launch, own
            )
            for edge in (*WEIGHT_EDGES, *MANY_EDGES):
                value = getattr(raw, edge)
                if value is not None:
                    node.inputs[edge] = self._edge(entry, edge, value, domain)
            if raw.teachers is not None:
                node.teachers = self._teachers(entry, raw.teachers, domains)
                node.inputs["teachers"] = sorted(
                    {target for target in node.teachers.values() if isinstance(target, str) and target != "self"}
                )
            yield node

    def _edge(self, entry: _Entry, edge: Edge, value: Any, domain: str | None) -> list[str]:
        path = (*entry.path, edge)
        references = value if isinstance(value, list) else [value]
        found = [node for reference in references for node in self._resolve(entry, path, reference, domain)]
        if edge in WEIGHT_EDGES and len(found) > 1:
            self.problem(path, f"needs one model, found {len(found)}: {', '.join(found)}", "name one of them")
        return found

    def _resolve(self, entry: _Entry, path: Sequence[str], reference: Any, domain: str | None) -> list[str]:
        """Resolve one reference to node ids or a model name."""
        if isinstance(reference, str):
            return self._resolve_name(entry, path, reference, domain)
        if isinstance(reference, Mapping) and "previous" in reference and set(reference) <= {"previous", "first"}:
            return self._resolve_previous(entry, path, reference, domain)
        if isinstance(reference, Mapping) and set(reference) == {"earlier"} and entry.group is not None:
            name = reference["earlier"]
            bases = [f"{entry.group}-r{number}-{name}" for number in range(1, entry.round)]
            return [node for base in bases for node in self._pick(path, base, domain)]
        self.problem(
            path,
            f"cannot read the reference {reference!r}",
            "a stage's name, or within rounds {previous: NAME, first: NAME} or {earlier: NAME}",
        )
        return []

    def _resolve_previous(
        self, entry: _Entry, path: Sequence[str], reference: Mapping[str, Any], domain: str | None
    ) -> list[str]:
        if entry.group is None:
            self.problem(path, "`previous` has a meaning only inside a group with `rounds`")
            return []
        if entry.round > 1:
            return self._pick(path, f"{entry.group}-r{entry.round - 1}-{reference['previous']}", domain)
        if "first" not in reference:
            self.problem(path, "round 1 has no previous round", "add `first: NAME` for round 1")
            return []
        return self._resolve_name(entry, path, reference["first"], domain)

    def _resolve_name(self, entry: _Entry, path: Sequence[str], name: str, domain: str | None) -> list[str]:
        if entry.group is not None and f"{entry.group}-r{entry.round}-{name}" in self.members:
            return self._pick(path, f"{entry.group}-r{entry.round}-{name}", domain)
        group, _, inner = name.partition("/")
        if inner and group in self.rounds:
            return self._pick(path, f"{group}-r{self.rounds[group]}-{inner}", domain)
        if name in self.members:
            return self._pick(path, name, domain)
        if name in self.recipe.models:
            return [name]
        ids = [node for members in self.members.values() for node in members.values()]
        if name in ids:
            return [name]
        valid = [*self.members, *self.recipe.models, *ids]
        close = difflib.get_close_matches(name, valid, n=1)
        fix = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(dict.fromkeys(valid))}"
        self.problem(path, f"no stage or model {name!r}", fix)
        return []

    def _pick(self, path: Sequence[str], base: str, domain: str | None) -> list[str]:
        """Return the members of a stage: the same domain's where the asking stage has one, else all."""
        members = self.members.get(base)
        if members is None:
            self.problem(path, f"no stage {base!r}")
            return []
        if domain in members:
            return [members[domain]]
        return list(members.values())

    # Teachers

    def _teachers(self, entry: _Entry, value: Mapping[str, Any], domains: Sequence[str]) -> dict[str, str | Use]:
        teachers: dict[str, str | Use] = {}
        path = (*entry.path, "teachers")
        if "from" in value:
            for target in self._resolve(entry, (*path, "from"), value["from"], None):
                domain = next((d for members in self.members.values() for d, n in members.items() if n == target), None)
                if domain is None:
                    self.problem(
                        (*path, "from"),
                        f"{target!r} is one stage; `from` takes a stage with for_each: domain",
                        f"write `<domain>: {{stage: {target}}}` for each domain that it teaches",
                    )
                elif domain in domains:
                    teachers[domain] = target
        for name, given in value.items():
            if name != "from":
                teacher = self._one_teacher(entry, (*path, name), given)
                if teacher is not None:
                    teachers[name] = teacher
        return teachers

    def _one_teacher(self, entry: _Entry, path: tuple[str, ...], given: Any) -> str | Use | None:
        if given in ("self", "hold"):
            return "self"
        if isinstance(given, Mapping) and set(given) == {"stage"}:
            found = self._resolve(entry, path, given["stage"], None)
            if len(found) == 1:
                return found[0]
            if found:
                self.problem(path, f"needs one stage, found {', '.join(found)}")
            return None
        if isinstance(given, Mapping) and "use" in given:
            try:
                return Use.model_validate(dict(given))
            except ValidationError as error:
                self.problems.extend(problems_of(error, Use, path, self.sources))
                return None
        self.problem(path, f"cannot read the teacher {given!r}", "`self`, {stage: NAME} or {use: COMPONENT, ...}")
        return None

    def _check_unique(self) -> None:
        seen: dict[str, StageNode] = {}
        for node in self.nodes:
            if node.id in seen:
                self.problem(node.path, f"two stages come out as {node.id!r}", "rename one")
            if node.id in self.recipe.models:
                self.problem(node.path, f"{node.id!r} names a stage and a model", "rename one")
            seen[node.id] = node
