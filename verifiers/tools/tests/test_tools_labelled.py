"""Real tasks whose own gold cannot be judged: exactly these are errors, with the reason."""

import json
from pathlib import Path

from collegium import Completion, Error, Task, Verifier
from collegium_verifier_tools.state_verifier import DatabaseStateVerifier
from collegium_verifier_tools.verifier import FunctionCallVerifier


def errors(verifier: Verifier, file: Path, domain: str | None = None) -> dict[str, str]:
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    found = {
        row["id"]: verifier.verify(Completion("[]"), Task("t", "", data=row))
        for row in rows
        if row.get("domain") == domain
    }
    assert found
    return {name: verdict.reason for name, verdict in found.items() if isinstance(verdict, Error)}


def test_ground_truths_that_do_not_fit_their_functions(real_data: Path) -> None:
    found = errors(FunctionCallVerifier(), real_data / "tool_bfcl.jsonl")
    assert {name: reason.partition("of ")[2] for name, reason in found.items()} == {
        "parallel_multiple_12": "calculate_voltage_difference has argument 'permeability', which its schema lacks",
        "parallel_multiple_21": "linear_regression_fit.x allows \"data['sales']\", which is no array",
        "parallel_multiple_26": "bank.calculate_balance has argument 'type', which its schema lacks",
        "live_simple_106-63-0": "record.auto_loan_payment_start must list its allowed values",
        "live_simple_112-68-0": "record.acc_routing_start must list its allowed values",
    }


def test_gold_actions_that_the_shop_refuses(real_data: Path) -> None:
    verifier = DatabaseStateVerifier({"database": str(real_data / "tool_tau_retail_db.jsonl.gz")})
    found = errors(verifier, real_data / "tool_tau_tasks.jsonl", "retail")
    assert {name: reason.rpartition(": ")[2] for name, reason in found.items()} == {
        "tau/retail/12": "the refund goes to the original payment method or to a gift card",
        "tau/retail/64": "the order is pending, not delivered",
        "tau/retail/106": "the gift card's balance is too small",
    }
