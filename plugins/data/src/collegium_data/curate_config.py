"""Options of the stage `curate` (light: no torch)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from collegium import Config
from collegium.kinds.data_files import DataFiles, locate
from collegium.kinds.stage import Artifact, Edge, StageConfig

OWNER = "collegium-data"

Unit = Literal["word", "character"]


class SourceConfig(Config):
    """What is said of one source, or of one domain where `mix_by` says so."""

    weight: float | None = Field(default=None, ge=0)
    """Its share of the mix, in proportion to the other weights; if one source has a weight, all need one."""
    count: int | None = Field(default=None, ge=0)
    """Most of its rows, chosen by the seed."""
    system_prompt: str = ""
    """Put before each of its prompts: as text before text, as a system message before messages. DeepSeek-V3 trains on
    ``<problem, original response>`` and ``<system prompt, problem, R1 response>``."""


class NearConfig(Config):
    """When two texts are near duplicates: by the Jaccard similarity of their n-grams, computed exactly."""

    n: int = Field(default=5, ge=1)
    """Units of an n-gram."""
    unit: Unit = "word"
    """What is counted: words (numbers and punctuation marks are words of their own), or characters."""
    threshold: float = Field(default=0.8, gt=0, le=1)
    """Similarity from which the later text is dropped."""


class DecontaminateConfig(Config):
    """When a training prompt holds too much of a held-out one (Tulu 3, arXiv 2411.15124, section 3.2)."""

    n: int = Field(default=8, ge=1)
    """Units of an n-gram. Tulu 3: 8. A held-out prompt of fewer units counts where the whole of it is found."""
    unit: Unit = "word"
    """What is counted."""
    share: float = Field(default=0.5, gt=0, le=1)
    """Share of a held-out prompt's units, found in n-grams that a training prompt has too, above which the training
    prompt is dropped; one that holds all of them always is. Tulu 3: 0.5. Prompts that are made from a template share
    its words with the held-out ones: raise it for these."""


class CurateConfig(StageConfig):
    """Options of the stage `curate`."""

    requires: ClassVar[frozenset[Edge]] = frozenset()
    accepts: ClassVar[frozenset[Edge]] = frozenset({"data_from", "prompts_from"})
    produces: ClassVar[Artifact] = "data"

    demonstrations: list[str] | None = None
    """Domains whose demonstrations are taken, each a source by its name; None takes every domain's."""
    data: DataFiles = []
    """JSON Lines files, each a source by its file name."""
    sources: dict[str, SourceConfig] = {}
    """Weights, counts and system prompts, by source: a domain, a stage of `data_from`, a file's name."""
    mix_by: Literal["source", "domain"] = "source"
    """Whether weights and counts are of sources or of domains; a row without a domain belongs to its source."""
    rows: int | None = Field(default=None, ge=1)
    """Most rows of the mix; None takes all, with weights as many as keep to them without repeating a row."""
    prompts: int | None = Field(default=None, ge=0)
    """Most training prompts of each domain in `prompts.jsonl`, chosen by the seed; None takes all that pass."""
    qualities: list[str] | None = None
    """Labels of the demonstrations to take; None takes all."""
    min_score: float | None = None
    """Drop rows that have a score below this; rows without one stay."""
    min_characters: int = Field(default=1, ge=0)
    """Fewest characters of a completion."""
    max_characters: int | None = Field(default=None, ge=1)
    """Most characters of a prompt with its completion."""
    duplicates: Literal["row", "prompt", "keep"] = "row"
    """Of equal rows, or of rows with equal prompts, the first stays; or all do. Of equal prompts one always stays."""
    near: NearConfig | None = None
    """Drop near duplicates too: of rows as `duplicates` compares them, and of prompts."""
    decontaminate: DecontaminateConfig | None = DecontaminateConfig()
    """Drop rows and prompts too much like a held-out prompt of any of the stage's domains; None keeps them, and later
    stages refuse exact copies."""

    def content_paths(self) -> Sequence[Path]:
        """Return the data files: what is in them is part of the fingerprint."""
        return [locate(name) for name in self.data]

    def judges(self) -> bool:
        """Curating asks no verifier."""
        return False
