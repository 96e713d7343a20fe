"""Entry point: what this distribution offers."""

from collegium import Component, component, hookimpl


@hookimpl
def register_tasks() -> list[Component]:
    """Offer the task sources."""
    return [
        component(
            "assistant",
            "collegium_teacher_assistant.assistant:AssistantTasks",
            "Short instructions with a polite and a less polite answer each; real ones, or generated.",
        ),
        component(
            "safety",
            "collegium_teacher_assistant.safety:SafetyTasks",
            "Requests to help, of which the harmful ones are to be refused; generated.",
        ),
    ]


@hookimpl
def register_stages() -> list[Component]:
    """Offer the stage."""
    return [
        component(
            "preference-data",
            "collegium_teacher_assistant.stage:PreferenceDataStage",
            "Rankings and rated pairs from demonstrations of several qualities.",
            config="collegium_teacher_assistant.stage_config:PreferenceDataConfig",
        )
    ]
