"""What the verifier is measured on: the cases are what their names say."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

DATA = Path(os.environ.get("COLLEGIUM_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data")


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    name = "measure_code_under_test"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "measure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data() -> Path:
    if not (DATA / "mbpp.jsonl").exists():
        if os.environ.get("CI"):
            pytest.fail(f"{DATA} lacks mbpp.jsonl; set COLLEGIUM_DATA")
        pytest.skip(f"{DATA} is not here")
    return DATA


def test_every_audit_has_cases_with_ids_of_their_own(measure: ModuleType, data: Path) -> None:
    audits = list(measure.audits(data))
    ids = [case.id for audit in audits for case in audit.cases]
    assert len({audit.name for audit in audits}) == len(audits) == 4 + 2 * len(measure.MUTANT_KINDS) + 1
    assert len(set(ids)) == len(ids)
    assert all(audit.cases for audit in audits)


def test_only_mutants_that_exist_are_explained_and_each_by_its_change(measure: ModuleType, data: Path) -> None:
    explained = {name: why for audit in measure.audits(data) for name, why in audit.explained.items()}
    assert set(explained) == measure.survivors()
    texts = [why.removeprefix("no test tells `").partition("` from `") for why in explained.values()]
    assert [old for old, _, new in texts if old == new.removesuffix("`")] == []


def test_the_attack_set_is_expected_to_fail(measure: ModuleType) -> None:
    cases = measure.attacks()
    assert len(cases) >= 200
    assert {case.expected for case in cases} == {0.0}
