"""What this distribution registers. Imported by discovery, so it imports nothing heavy."""

from __future__ import annotations

from collegium import Component, component, hookimpl


@hookimpl
def register_teachers() -> list[Component]:
    """Offer the teacher."""
    return [
        component(
            "served",
            "collegium_teacher_served.teacher:ServedTeacher",
            "A model behind a server (vLLM, SGLang) that returns the log-probs of prompts.",
            config="collegium_teacher_served.config:ServedTeacherConfig",
        )
    ]
