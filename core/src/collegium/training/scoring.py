"""Scoring: fill a batch's old, reference and teacher streams, each teacher opened once.

Shapes: ``B`` sequences, ``T`` tokens, ``N`` trained tokens in row-major mask order, ``D`` width.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from collegium.errors import EngineError, TeacherError
from collegium.kinds.router import Router
from collegium.kinds.teacher import Teacher
from collegium.training.batch import RolloutBatch
from collegium.training.language_model import LanguageModel
from collegium.training.routing import route_batch
from collegium.training.tokenizers import TokenizerIdentity


@torch.no_grad()
def score(model: LanguageModel, batch: RolloutBatch, micro_batch: int) -> Tensor:
    """Return a model's log-probs of the batch's completions, ``[B, T]``; rows of like length are scored together."""
    order = batch.attention_mask.sum(dim=1).argsort(stable=True).tolist()
    scores = torch.zeros(batch.token_ids.shape)
    for start in range(0, len(order), micro_batch):
        rows = order[start : start + micro_batch]
        part = model.logprobs(batch.select(rows).to(model.device)).cpu()
        scores[rows, : part.shape[1]] = part
    return scores


def check_handshake(batch: RolloutBatch, tolerance: float) -> float:
    """Compare what the engine recorded at sampling with what the trainer makes of the same tokens.

    Args:
        batch: With `behaviour` and `old`.
        tolerance: Greatest mean absolute difference, in nats.

    Returns:
        The mean absolute difference.

    Raises:
        EngineError: If it exceeds the tolerance.
    """
    gap = logprob_gap(batch)
    if gap > tolerance:
        raise EngineError(
            f"engine and trainer disagree: their log-probs of the sampled tokens differ by {gap:.3g} nats on average, "
            f"at most {tolerance:g} is allowed",
            fix="sample at temperature 1 and top_p 1, use the same precision in both, and check that the engine takes the "
            "policy's current weights (tied heads too)",
        )
    return gap


def logprob_gap(batch: RolloutBatch) -> float:
    """Return the mean absolute difference of the engine's and the trainer's log-probs over the trained tokens."""
    if batch.behaviour is None or batch.old is None:
        raise ValueError("the batch lacks its behaviour or its old stream")
    difference = (batch.behaviour - batch.old)[batch.completion_mask]
    return float(difference.abs().mean())


class TeacherPool:
    """The teachers of a stage and the router that picks among them.

    Args:
        teachers: By name; none is opened yet.
        router: Picks the teacher of a sample.
        owners: Teacher name to the distribution that it comes from, for messages.
    """

    def __init__(self, teachers: Mapping[str, Teacher], router: Router, owners: Mapping[str, str]) -> None:
        self.teachers = dict(teachers)
        self.router = router
        self.owners = dict(owners)

    def check_tokenizers(self, student: TokenizerIdentity) -> None:
        """Check that every teacher reads token ids as the student does.

        Raises:
            TeacherError: If one does not; says where they differ.
        """
        for name, teacher in self.teachers.items():
            difference = student.difference(teacher.identity())
            if difference:
                raise TeacherError(
                    f"teacher {name!r} has another tokenizer than the student: {difference} (here: the student, there: the "
                    "teacher)",
                    fix="use a teacher that was trained with the student's tokenizer and chat template",
                    owner=self.owners.get(name),
                )

    def score(self, batch: RolloutBatch, *, hidden: bool) -> None:
        """Route the rows, open each teacher that is needed once, and fill the batch's teacher fields.

        Args:
            batch: Gets `teachers`, and `teacher` (log-probs of the mixture) or, for `hidden`, `teacher_hidden` and
                `teacher_heads`.
            hidden: Whether the loss needs hidden states; then each row has exactly one teacher.

        Raises:
            TeacherError: If routing fails, a teacher cannot score, or `hidden` meets a mixture.
        """
        routes = route_batch(self.router, batch.samples, self.teachers)
        batch.teachers = [next(iter(route)) if len(route) == 1 else "" for route in routes]
        if hidden:
            self._fill_hidden(batch)
        else:
            self._fill_logprobs(batch, routes)

    def _fill_logprobs(self, batch: RolloutBatch, routes: list[dict[str, float]]) -> None:
        mixture = torch.full(batch.token_ids.shape, float("-inf"))
        for name in sorted({name for route in routes for name in route}):
            rows = [row for row, route in enumerate(routes) if name in route]
            part = batch.select(rows)
            with self._opened(name) as teacher:
                scores = self._checked(name, teacher.logprobs(part).cpu().float(), part.completion_mask)
            weights = torch.tensor([routes[row][name] for row in rows]).log()
            width = scores.shape[1]
            mixture[rows, :width] = torch.logaddexp(mixture[rows, :width], scores + weights[:, None])
        batch.teacher = torch.where(batch.completion_mask, mixture, 0.0)

    def _fill_hidden(self, batch: RolloutBatch) -> None:
        mixed = batch.teachers.count("")
        if mixed:
            raise TeacherError(
                f"{mixed} samples are routed to several teachers, whose hidden states cannot be mixed",
                fix="route each sample to one teacher, or use a sampled-token loss",
            )
        states: dict[int, Tensor] = {}
        for name in sorted(set(batch.teachers)):
            rows = [row for row, teacher in enumerate(batch.teachers) if teacher == name]
            part = batch.select(rows)
            with self._opened(name) as teacher:
                hidden = teacher.hidden_states(part)
                batch.teacher_heads[name] = teacher.head()
            lengths = part.completion_lengths.tolist()
            if hidden.shape[0] != sum(lengths):
                raise self._malformed(name, f"{hidden.shape[0]} hidden states for {sum(lengths)} tokens")
            states.update(zip(rows, hidden.split(lengths), strict=True))
        batch.teacher_hidden = [states[row] for row in range(len(batch))]

    @contextmanager
    def _opened(self, name: str) -> Iterator[Teacher]:
        teacher = self.teachers[name]
        teacher.open()
        try:
            yield teacher
        except NotImplementedError as error:
            raise TeacherError(f"teacher {name!r}: {error}", owner=self.owners.get(name)) from error
        finally:
            teacher.close()

    def _checked(self, name: str, scores: Tensor, mask: Tensor) -> Tensor:
        if scores.shape != mask.shape:
            raise self._malformed(name, f"log-probs of shape {list(scores.shape)} for a batch of {list(mask.shape)}")
        values = scores[mask]
        if not bool(torch.isfinite(values).all()) or bool((values > 1e-4).any()):
            raise self._malformed(name, "log-probs that are positive or not finite")
        return scores

    def _malformed(self, name: str, found: str) -> TeacherError:
        owner = self.owners.get(name)
        return TeacherError(f"teacher {name!r} returned {found}", fix=f"report it to {owner or 'its package'}", owner=owner)


def teacher_metrics(batch: RolloutBatch, names: Collection[str]) -> dict[str, float]:
    """Return, per teacher, its share of the rows and of the trained tokens, and the sampled estimate of the reverse KL."""
    metrics: dict[str, float] = {}
    lengths = batch.completion_lengths
    for name in sorted(names):
        rows = torch.tensor([teacher == name for teacher in batch.teachers])
        if not bool(rows.any()):
            continue
        metrics[f"share/rows/{name}"] = float(rows.float().mean())
        metrics[f"share/tokens/{name}"] = float(lengths[rows].sum() / lengths.sum())
        if batch.teacher is not None and batch.old is not None:
            gap = (batch.old - batch.teacher)[rows][batch.completion_mask[rows]]
            metrics[f"kl/{name}"] = float(gap.mean())
    return metrics
