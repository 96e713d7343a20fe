"""Entry point: what this distribution offers."""

from collections.abc import Sequence

from collegium import Component, component, hookimpl

collegium_api = 1


@hookimpl
def register_verifiers() -> Sequence[Component]:
    """Offer `function-call` and `database-state`."""
    package = "collegium_verifier_tools"
    calls, state = f"{package}.verifier:FunctionCallVerifier", f"{package}.state_verifier:DatabaseStateVerifier"
    return [
        component("function-call", calls, "Function calls, matched with the allowed values of each argument."),
        component("database-state", state, "The state of a database after a trajectory of tool calls."),
    ]


@hookimpl
def register_environments() -> Sequence[Component]:
    """Offer `calculator` and `database`."""
    package = "collegium_verifier_tools"
    return [
        component("calculator", f"{package}.calculator:Calculator", "Values of arithmetic expressions."),
        component("database", f"{package}.lookup:DatabaseLookup", "Fields of records in a database's tables."),
    ]
