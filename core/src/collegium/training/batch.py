"""The rollout batch: what generation, scoring, advantages and losses hand to each other.

Shapes: ``B`` sequences, ``T`` tokens (prompt + completion, right-padded), ``N`` trained tokens in row-major mask order,
``V`` vocabulary, ``D`` width. A log-prob stream is ``[B, T]`` float32, natural log; the entry at ``[b, t]`` is that of
token ``t`` given those before it, and 0 outside `completion_mask`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from collegium.kinds.engine import Generation, SamplingParams
from collegium.task import Sample
from collegium.training.kept_sets import KeptSets
from collegium.verdict import Score, Verdict

NO_REWARD = float("nan")
PLAIN = SamplingParams()


@dataclass(slots=True)
class RolloutBatch:
    """A batch of rollouts. Rows of one prompt share a number in `groups`.

    Args:
        token_ids: ``[B, T]`` int64, right-padded.
        attention_mask: ``[B, T]`` bool, the real tokens.
        completion_mask: ``[B, T]`` bool, the tokens that the policy sampled (never prompt, tool or padding).
        samples: The light samples, ``B`` of them.
        verdicts: One per sample; empty where the stage has no reward source.
        rewards: ``[B]`` float32; NaN where the verdict is `Abstain` or `Error` (no reward, left out of averages).
        groups: ``[B]`` int64 group number.
        truncated: ``[B]`` bool, cut at the token limit.
        weight_versions: ``[B]`` int64, the optimizer step whose weights generated the row.
        behaviour: ``[B, T]`` engine log-probs at sampling.
        old: ``[B, T]`` trainer log-probs at rollout weights.
        reference: ``[B, T]`` log-probs of the KL reference.
        teacher: ``[B, T]`` log-probs of each row's teacher (of the weighted mixture, where there are several).
        advantage: ``[B, T]`` sum of the advantage terms.
        token_weights: ``[B, T]`` what each token's loss counts; the loss of the batch is their product's sum.
        teachers: Teacher name of each row; empty where none was routed, or several.
        teacher_hidden: Per row ``[N_b, D_teacher]``, the teacher's states that predict the trained tokens.
        teacher_heads: Teacher name to LM head ``[V, D_teacher]``.
        temperature: What the logits were divided by when the tokens were sampled; every log-prob is of that
            distribution.
        kept: Per row, the ids that truncation kept for each trained token; every log-prob is over these alone.
    """

    token_ids: Tensor
    attention_mask: Tensor
    completion_mask: Tensor
    samples: list[Sample]
    verdicts: list[Verdict]
    rewards: Tensor
    groups: Tensor
    truncated: Tensor
    weight_versions: Tensor
    behaviour: Tensor | None = None
    old: Tensor | None = None
    reference: Tensor | None = None
    teacher: Tensor | None = None
    advantage: Tensor | None = None
    token_weights: Tensor | None = None
    teachers: list[str] = field(default_factory=list)
    teacher_hidden: list[Tensor] | None = None
    teacher_heads: dict[str, Tensor] = field(default_factory=dict)
    temperature: float = 1.0
    kept: list[KeptSets] | None = None

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def domains(self) -> list[str]:
        """The domain of each row."""
        return [sample.domain for sample in self.samples]

    @property
    def images(self) -> list[tuple[bytes, ...]]:
        """The pictures of each row, which its task has: they go where the row goes."""
        return [sample.task.images for sample in self.samples]

    @property
    def completion_lengths(self) -> Tensor:
        """Trained tokens of each row, ``[B]`` int64."""
        return self.completion_mask.sum(dim=1)

    @property
    def kept_sets(self) -> KeptSets | None:
        """What truncation kept for each trained token of the batch, in row-major mask order; None for everything."""
        return None if self.kept is None else KeptSets.joined(self.kept)

    def select(self, rows: Sequence[int]) -> RolloutBatch:
        """Return the given rows, in that order, cut to their longest; tensors are copies."""
        index = torch.as_tensor(list(rows), dtype=torch.long, device=self.token_ids.device)
        width = int(self.attention_mask[index].sum(dim=1).max()) if len(rows) else 0

        def per_token(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[index, :width]

        tokens: dict[str, Any] = {name: per_token(getattr(self, name)) for name in _TOKEN_FIELDS}
        vectors: dict[str, Any] = {name: getattr(self, name)[index] for name in _ROW_FIELDS}
        lists: dict[str, Any] = {
            name: [getattr(self, name)[row] for row in rows] for name in _LIST_FIELDS if getattr(self, name)
        }
        return replace(self, **tokens, **vectors, **lists)

    def to(self, device: torch.device | str) -> RolloutBatch:
        """Return the batch with its tensors on a device; teachers' heads stay, for the update moves one at a time."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device)

        tensors: dict[str, Any] = {name: move(getattr(self, name)) for name in (*_TOKEN_FIELDS, *_ROW_FIELDS)}
        hidden = None if self.teacher_hidden is None else [states.to(device) for states in self.teacher_hidden]
        kept = None if self.kept is None else [sets.to(device) for sets in self.kept]
        return replace(self, **tensors, teacher_hidden=hidden, kept=kept)


_TOKEN_FIELDS = (
    "token_ids",
    "attention_mask",
    "completion_mask",
    "behaviour",
    "old",
    "reference",
    "teacher",
    "advantage",
    "token_weights",
)
_ROW_FIELDS = ("rewards", "groups", "truncated", "weight_versions")
_LIST_FIELDS = ("samples", "verdicts", "teachers", "teacher_hidden", "kept")


def collate(
    prompts: Sequence[Sequence[int]],
    generations: Sequence[Generation],
    samples: Sequence[Sample],
    verdicts: Sequence[Verdict],
    pad_id: int,
    sampling: SamplingParams = PLAIN,
) -> RolloutBatch:
    """Lay prompts and their generations out as one right-padded batch.

    Args:
        prompts: ``B`` prompts as token ids.
        generations: What the engine sampled for each.
        samples: The light samples; their `group` becomes `groups`.
        verdicts: One per sample, or empty.
        pad_id: Fills the rest of a row.
        sampling: How they were sampled; its temperature and mask belong to the batch's log-probs.

    Raises:
        EngineError: If the sampling's mask shall be kept, and a generation does not have it.
    """
    count = len(prompts)
    width = max(len(prompt) + len(made.token_ids) for prompt, made in zip(prompts, generations, strict=True))
    token_ids = torch.full((count, width), pad_id, dtype=torch.long)
    attention_mask = torch.zeros(count, width, dtype=torch.bool)
    completion_mask = torch.zeros(count, width, dtype=torch.bool)
    behaviour = torch.zeros(count, width)
    for row, (prompt, made) in enumerate(zip(prompts, generations, strict=True)):
        start, end = len(prompt), len(prompt) + len(made.token_ids)
        token_ids[row, :end] = torch.tensor([*prompt, *made.token_ids], dtype=torch.long)
        attention_mask[row, :end] = True
        completion_mask[row, start:end] = True if made.sampled is None else torch.tensor(made.sampled)
        behaviour[row, start:end] = torch.tensor(made.logprobs, dtype=torch.float32)
    return RolloutBatch(
        token_ids=token_ids,
        attention_mask=attention_mask,
        completion_mask=completion_mask,
        samples=list(samples),
        verdicts=list(verdicts),
        rewards=torch.tensor(rewards_of(verdicts) or [NO_REWARD] * count, dtype=torch.float32),
        groups=torch.tensor([sample.group for sample in samples], dtype=torch.long),
        truncated=torch.tensor([made.finish_reason == "length" for made in generations], dtype=torch.bool),
        weight_versions=torch.tensor([made.weight_version for made in generations], dtype=torch.long),
        behaviour=behaviour,
        temperature=sampling.temperature,
        kept=[KeptSets.of(made) for made in generations] if sampling.keep_mask else None,
    )


def deal(batch: RolloutBatch, ranks: int) -> list[list[int]]:
    """Return the rows that each rank scores and trains on: blocks, of whole groups where there are enough."""
    groups = list(dict.fromkeys(batch.groups.tolist()))
    whole = len(groups) >= ranks
    place = {group: index for index, group in enumerate(groups)}
    places = [place[group] for group in batch.groups.tolist()] if whole else list(range(len(batch)))
    count = len(groups) if whole else len(batch)
    dealt: list[list[int]] = [[] for _ in range(ranks)]
    for row, at in enumerate(places):
        dealt[at * ranks // count].append(row)
    return dealt


def rewards_of(verdicts: Sequence[Verdict]) -> list[float]:
    """Return each verdict's value; NaN for `Abstain` and `Error`."""
    return [verdict.value if isinstance(verdict, Score) else NO_REWARD for verdict in verdicts]
