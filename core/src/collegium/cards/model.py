"""The card's typed form: ``card.yaml`` in a distribution's import package."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from collegium.component import KINDS, Config

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

TEACHER_FIELDS = ("checkpoint", "endpoint", "tokenizer", "chat_template", "think_mode", "own_domain")
"""What only a teacher, or a task source that stands for one, may state."""


class Checkpoint(Config):
    """The weights behind a teacher."""

    path: str
    """Hub name, or a folder: absolute, or relative to the package."""
    digest: Sha256 | None = None
    """SHA-256 of the folder's files, as in the lock; compared by the plan where the folder is here."""


class OwnDomain(Config):
    """How well a teacher does on its own domain."""

    data: str
    """Data it was scored on, with the split."""
    score: float = Field(ge=0, le=1)
    """Mean score."""
    n: int = Field(ge=1)
    """Tasks it was scored on."""
    margin: float = Field(ge=-1, le=1)
    """By how much it beats the model that it was trained from."""


class ComponentCard(Config):
    """What a distribution says of one of its components."""

    domains: list[str] = []
    """Domains that it is meant for; empty: any."""
    deterministic: bool = True
    """The same input gives the same output. Agrees with the class."""
    network: bool = False
    """It uses the network. Agrees with the class."""
    writes_files: bool = False
    """It writes outside the folder of temporary files. Agrees with the class."""
    sandbox: Literal["none", "process", "namespaces"] = "none"
    """What isolates hostile completions."""
    notes: str = ""
    """One line for people."""
    example: dict[str, Any] | None = None
    """Options that are valid, for `collegium plugins show` and the conformance kit."""
    checkpoint: Checkpoint | None = None
    """The teacher's weights."""
    endpoint: str | None = None
    """Where the teacher is served."""
    tokenizer: Sha256 | None = None
    """SHA-256 of ``tokenizer.json``, as in the lock."""
    chat_template: Sha256 | None = None
    """SHA-256 of ``chat_template.jinja``, as in the lock."""
    think_mode: Literal["think", "no-think", "both"] | None = None
    """Whether the teacher was trained to write its thoughts."""
    own_domain: OwnDomain | None = None
    """Its evaluation on its own domain."""

    @model_validator(mode="after")
    def _one_place(self) -> ComponentCard:
        if self.checkpoint and self.endpoint:
            raise ValueError("a teacher has a checkpoint or an endpoint, not both")
        return self

    @property
    def teacher_fields(self) -> list[str]:
        """Names of the fields that are set and that only teachers may have."""
        return [name for name in TEACHER_FIELDS if getattr(self, name) is not None]


class Card(Config):
    """A distribution's card. Owner, licence, version and summary are in its metadata."""

    card: Literal[1]
    """Version of the card's format."""
    contract: int
    """Version of the plugin contract that it was written for."""
    components: dict[str, ComponentCard]
    """``kind/name`` to what is said of that component."""

    @field_validator("components")
    @classmethod
    def _keys(cls, value: dict[str, ComponentCard]) -> dict[str, ComponentCard]:
        for key, entry in value.items():
            kind, _, name = key.partition("/")
            if kind not in KINDS or not name:
                raise ValueError(f"{key!r} must be KIND/NAME, with a kind of {', '.join(KINDS)}")
            if kind not in ("teacher", "task") and entry.teacher_fields:
                raise ValueError(f"{key!r}: only a teacher or a task source has {', '.join(entry.teacher_fields)}")
        return value
