"""Entry point: what this distribution offers."""

from collegium import Component, component, hookimpl


@hookimpl
def register_tasks() -> list[Component]:
    """Offer the task source `desk`."""
    return [
        component(
            "desk",
            "collegium_teacher_desk.source:DeskTasks",
            "Errands of two or three turns with a tool: calculator, database or python.",
        )
    ]
