"""Entry point: what this distribution offers."""

from collegium import Component, component, hookimpl


@hookimpl
def register_tasks() -> list[Component]:
    """Offer the task source `python`."""
    return [
        component(
            "python",
            "collegium_teacher_python.source:PythonTasks",
            "Two steps to write as one Python expression, run against tests.",
        )
    ]
