"""Entry point: what this distribution offers."""

from collegium import Component, component, hookimpl


@hookimpl
def register_tasks() -> list[Component]:
    """Offer the task source `pictures`."""
    return [
        component(
            "pictures",
            "collegium_teacher_pictures.source:PictureTasks",
            "Drawings: how many circles, which corner has the square, which digit it is.",
            config="collegium_teacher_pictures.config:PicturesConfig",
        )
    ]
