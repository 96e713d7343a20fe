"""Options of the stage (light: no torch)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from collegium import Use, UseEngine, UseReward, UseVerifier
from collegium.kinds.engine import SamplingParams
from collegium.kinds.stage import Artifact, Edge, StageConfig


class RejectionSamplingConfig(StageConfig):
    """Options of the stage `rejection-sampling`."""

    requires: ClassVar[frozenset[Edge]] = frozenset({"generate_from"})
    accepts: ClassVar[frozenset[Edge]] = frozenset({"data_from", "prompts_from"})
    produces: ClassVar[Artifact] = "data"

    samples: int = Field(default=8, ge=1)
    """Completions of each prompt from each model. Llama 3: 10 to 30."""
    prompts: int | None = Field(default=None, ge=1)
    """At most this many training prompts of each domain, chosen by the seed; None takes all."""
    batch: int = Field(default=32, ge=1)
    """Prompts that are sampled and judged at once; a reward that looks at a whole batch sees these."""
    sampling: SamplingParams = SamplingParams()
    """How to sample; any temperature will do."""
    engine: UseEngine = Use(use="collegium/transformers")
    """What samples."""
    reward: UseReward = Use(use="collegium/domain-verifier")
    """What scores the completions."""
    min_score: float | None = 1.0
    """Score from which a completion is right; the others are never kept. None: the best is kept whatever its score, for
    rewards that have no bar."""
    keep_if: list[UseVerifier] = []
    """A completion is kept, or makes a pair, only if each of these verifiers scores it 1. DeepSeek-R1 leaves out mixed
    languages, long paragraphs and code blocks; `language`, `length` and `format` see to such things."""
    system_prompt: str = ""
    """Put before each prompt in the rows that are left, not when sampling: as text before text, as a system message
    before messages. DeepSeek-V3: ``<system prompt, problem, R1 response>``."""
    keep: int | None = Field(default=1, ge=1)
    """Most completions of a prompt that are kept, best first; None keeps every right one."""
    pair_margin: float = Field(default=0.0, ge=0)
    """A pair's better completion must score higher than the worse one by more than this."""
    earlier: Literal["all", "best"] = "all"
    """What is kept of `data_from`: every row besides this round's (Llama 2, from its fourth round on), or only the
    `keep` best of a prompt over all rounds."""
