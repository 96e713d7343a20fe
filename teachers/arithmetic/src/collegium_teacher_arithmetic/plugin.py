"""Entry point: what this distribution offers."""

from collegium import Component, component, hookimpl


@hookimpl
def register_tasks() -> list[Component]:
    """Offer the task source `arithmetic`."""
    return [
        component(
            "arithmetic",
            "collegium_teacher_arithmetic.source:ArithmeticTasks",
            "Additions and subtractions that need a carry or a borrow; from GSM8K, or generated.",
        )
    ]
