"""Entry point: what this distribution offers."""

from collegium import Component, component, hookimpl


@hookimpl
def register_tasks() -> list[Component]:
    """Offer the task source `writing`."""
    return [
        component(
            "writing",
            "collegium_teacher_writing.source:WritingTasks",
            "Words to write under IFEval constraints of form; from children's stories, or the package's list.",
        )
    ]
