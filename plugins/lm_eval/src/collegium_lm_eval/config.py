"""Options of the stage `lm-eval` (light: neither torch nor the harness)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from collegium import ConfigError, StageConfig
from collegium.kinds.stage import Artifact


class LmEvalConfig(StageConfig):
    """Options of the stage `lm-eval`."""

    produces: ClassVar[Artifact] = "report"

    include_path: Path
    """Folder of task YAML files, with their data; a relative `data_files` in them starts from this folder."""
    tasks: list[str] = Field(min_length=1)
    """Names of tasks or groups that the folder defines."""
    num_fewshot: int | None = Field(default=None, ge=0)
    """Examples before each question; None keeps the task's own number."""
    limit: int | None = Field(default=None, ge=1)
    """First documents of each task that are evaluated; None for all."""
    batch: int = Field(default=16, ge=1)
    """Sequences evaluated at once."""
    max_length: int | None = Field(default=None, ge=2)
    """Most tokens of context and continuation; None takes the model's own limit."""
    apply_chat_template: bool = False
    """Render prompts by the tokenizer's chat template."""

    def judges(self) -> bool:
        """Return False: the tasks score themselves."""
        return False

    def content_paths(self) -> Sequence[Path]:
        """Return the folder's files; tasks and data are part of the fingerprint.

        Raises:
            ConfigError: If the folder has no task file.
        """
        files = [path for path in self.include_path.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        if not any(path.suffix in (".yaml", ".yml") for path in files):
            raise ConfigError(
                f"include_path {str(self.include_path)!r} holds no task (*.yaml)",
                fix="name the folder of the task files; a relative path starts from the current directory",
                owner="collegium-lm-eval",
            )
        return sorted(files)
