"""The lock: what exactly a run stood on, and how two of them differ."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

from collegium.errors import Problem, RecipeError
from collegium.hookspecs import API
from collegium.planning.fingerprint import digest, distribution_digest, requirement_versions
from collegium.planning.plan import Plan, PlannedStage
from collegium.planning.requirements import locked_requirements

LIBRARIES = ("torch", "transformers", "accelerate", "tokenizers", "pydantic", "omegaconf", "pluggy")
SECTIONS = ("contract", "distributions", "components", "data", "models", "recipe")


def make_lock(plan: Plan) -> dict[str, Any]:
    """Return the lock of a plan; tokenizer and chat-template hashes join it as stages finish."""
    entries = sorted(plan.entries.values(), key=lambda entry: entry.id)
    records = {entry.record.distribution: entry.record for entry in entries}
    core = plan.registry.record("collegium")
    if core is not None:
        records["collegium"] = core
    return {
        "lock": 1,
        "contract": API,
        "recipe": {"name": plan.recipe.name, "digest": digest(plan.loaded.resolved)},
        "requires": locked_requirements(plan.recipe, plan.registry),
        "distributions": {
            name: {
                "version": record.version,
                "api": record.api,
                "code": distribution_digest(record.distribution, record.modules),
                "requires": dict(requirement_versions(name)),
            }
            for name, record in sorted(records.items())
        },
        "components": sorted(f"{entry.kind}:{entry.id}" for entry in entries),
        "data": plan.data_digests,
        "models": plan.model_digests,
        "domains": {
            name: {"digest": found, "packages": plan.domain_packages[name]}
            for name, found in plan.domain_digests.items()
        },
        "stages": {stage.id: _locked_stage(stage) for stage in plan.stages.values()},
        "tokenizers": {},
        "environment": {"python": platform.python_version(), **dict(_versions())},
    }


def _locked_stage(stage: PlannedStage) -> dict[str, Any]:
    return {
        "fingerprint": stage.fingerprint,
        "own": stage.own_fingerprint,
        "seed": stage.seed,
        "recipe": ".".join(stage.node.path),
        "inputs": sorted({source for sources in stage.node.inputs.values() for source in sources}),
        "domains": stage.node.domains,
        "packages": stage.packages,
    }


def _versions() -> Iterator[tuple[str, str]]:
    for name in LIBRARIES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def drift(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return one sentence per difference that can change a result."""
    found = []
    if old.get("contract") != new.get("contract"):
        found.append(f"plugin contract: {old.get('contract')} -> {new.get('contract')}")
    if old.get("recipe", {}).get("digest") != new.get("recipe", {}).get("digest"):
        found.append("recipe: its resolved text differs")
    found += _differences("package", old.get("distributions", {}), new.get("distributions", {}))
    found += _requirement_differences(old.get("distributions", {}), new.get("distributions", {}))
    found += _differences("library", old.get("environment", {}), new.get("environment", {}))
    found += _differences("data of domain", old.get("data", {}), new.get("data", {}))
    found += _differences("model", old.get("models", {}), new.get("models", {}))
    return found


def _differences(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    found = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if _without_requires(before) == _without_requires(after):
            continue
        if before is None or after is None:
            found.append(f"{what} {name}: {'added' if before is None else 'gone'}")
        elif isinstance(before, Mapping) and before.get("version") == after.get("version") is not None:
            found.append(f"{what} {name} {before['version']}: same version, other code")
        elif isinstance(before, Mapping) and "version" in before:
            found.append(f"{what} {name}: {before['version']} -> {after['version']}")
        else:
            found.append(f"{what} {name}: {_brief(before)} -> {_brief(after)}")
    return found


def _requirement_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return how the libraries that packages of both locks stand on differ, those compared anyway left out."""
    found = []
    for name in sorted(set(old) & set(new)):
        before, after = (row.get("requires") for row in (old[name], new[name]))
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            for library in sorted({*before, *after} - {*old, *LIBRARIES}):
                if before.get(library) != after.get(library):
                    versions = f"{before.get(library, 'absent')} -> {after.get(library, 'absent')}"
                    found.append(f"package {name} stands on {library}: {versions}")
    return found


def _without_requires(value: Any) -> Any:
    return {key: item for key, item in value.items() if key != "requires"} if isinstance(value, Mapping) else value


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{digest(value)[:12]}"


def refuse_drift(old: Mapping[str, Any], new: Mapping[str, Any], *, against: str, fix: str) -> None:
    """Raise if anything that can change a result differs from a lock.

    Raises:
        RecipeError: With one problem per difference.
    """
    found = drift(old, new)
    if found:
        raise RecipeError.of([Problem(f"drift from {against}: {sentence}", fix) for sentence in found])
