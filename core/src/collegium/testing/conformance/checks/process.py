"""Checks of what a component does in a fresh process: imports, files, network, signals, the same results."""

from __future__ import annotations

import json
from typing import Any

from collegium.testing.conformance.check import check
from collegium.testing.conformance.exercise import EXERCISED, exercise
from collegium.testing.conformance.outcome import NotApplicable, require
from collegium.testing.conformance.subject import Subject


@check()
def light_import(subject: Subject) -> None:
    """Importing the entry-point module brings in no heavy module."""
    heavy = subject.trace.heavy
    module = subject.entry.record.module
    require(not heavy, f"importing {module} imports {', '.join(heavy)}; name the class lazily and import it there")


@check(*EXERCISED)
def no_network(subject: Subject) -> None:
    """It uses no network, unless its class says `network = True`."""
    _unless_declared(subject, "network", subject.trace.sockets)


@check(*EXERCISED)
def no_files_written(subject: Subject) -> None:
    """It writes nothing outside the folder of temporary files, unless its class says `writes_files = True`."""
    _unless_declared(subject, "writes_files", subject.trace.writes)


@check(*EXERCISED)
def no_signals(subject: Subject) -> None:
    """It sets no alarm and no signal handler: the core calls it in worker threads, where they cannot work."""
    _require_exercised(subject)
    require(not subject.trace.signals, f"it uses {', '.join(subject.trace.signals)}")


@check(*EXERCISED)
def same_in_fresh_process(subject: Subject) -> None:
    """Built by name in a fresh process, it gives the results that it gives here."""
    if not getattr(subject.shared, "deterministic", True):
        raise NotApplicable("it is declared not deterministic")
    _require_exercised(subject)
    instance = subject.build()
    try:
        here = json.loads(json.dumps(exercise(subject, instance)))
    finally:
        getattr(instance, "close", lambda: None)()
    there = subject.trace.outputs
    differing = [number for number, (a, b) in enumerate(zip(here, there, strict=False)) if a != b]
    require(len(here) == len(there), f"{len(here)} results here, {len(there)} in a fresh process")
    require(not differing, _difference(here, there, differing))


def _require_exercised(subject: Subject) -> None:
    if not subject.trace.outputs:
        raise NotApplicable("it gave no result to look at: pass options with which it has something to do")


def _difference(here: list[Any], there: list[Any], differing: list[int]) -> str:
    first = differing[0] if differing else 0
    return f"{len(differing)} of {len(here)} results differ; the first: {here[first]} here, {there[first]} there"


def _unless_declared(subject: Subject, attribute: str, found: tuple[str, ...]) -> None:
    if getattr(subject.component_class, attribute, False):
        raise NotApplicable(f"its class says {attribute} = True")
    _require_exercised(subject)
    require(not found, f"found: {'; '.join(found[:5])}")
