"""The teachers of a stage: routed to, checked, opened once per batch, and asked for log-probs or hidden states.

Shapes: ``B`` sequences, ``T`` tokens, ``N`` trained tokens in row-major mask order, ``D`` width.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from collegium.errors import CollegiumError, TeacherError
from collegium.kinds.router import Router
from collegium.kinds.teacher import Teacher
from collegium.training.batch import RolloutBatch, deal
from collegium.training.context import StageContext
from collegium.training.distributed import world
from collegium.training.divergence import MAX_LOG_RATIO
from collegium.training.routing import route_batch
from collegium.training.streams import require
from collegium.training.tokenizers import TokenizerIdentity

ELSEWHERE = torch.empty(0, 0)
"""In place of a row's hidden states that another rank has."""


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

    @classmethod
    def of(cls, context: StageContext, router: Router) -> TeacherPool:
        """Return the pool of a stage's teachers."""
        owners = {name: use.use.rpartition("/")[0] for name, use in context.job.teachers.items()}
        return cls(context.teachers, router, owners)

    def check_tokenizers(self, student: TokenizerIdentity) -> None:
        """Check that every teacher reads token ids as the student does.

        Raises:
            TeacherError: If one does not; says where they differ.
        """
        for name, teacher in self.teachers.items():
            difference = student.difference(teacher.identity())
            if difference:
                raise TeacherError(
                    f"teacher {name!r} has another tokenizer than the student: {difference} "
                    "(here: the student, there: the teacher)",
                    fix="use a teacher that was trained with the student's tokenizer and chat template",
                    owner=self.owners.get(name),
                )

    def score(self, batch: RolloutBatch, *, hidden: bool, logprobs: bool) -> None:
        """Route the rows, open each teacher that is needed once, and fill the batch's teacher fields.

        Each rank asks about its own rows. All get the log-probs of all rows; hidden states stay where they were made,
        for only that rank trains on the row.

        Args:
            batch: Gets `teachers`, and what is asked for.
            hidden: Fill `teacher_hidden` and `teacher_heads`; each row has exactly one teacher then.
            logprobs: Fill `teacher`: log-probs of the row's teacher, or of the weighted mixture of its teachers.

        Raises:
            TeacherError: If routing fails, a teacher cannot score, or `hidden` meets a mixture.
        """
        routes = route_batch(self.router, batch.samples, self.teachers)
        batch.teachers = [next(iter(route)) if len(route) == 1 else "" for route in routes]
        if hidden:
            self._refuse_mixtures(batch.teachers)
        here = world()
        own = deal(batch, here.size)[here.rank]
        mixture = torch.full(batch.token_ids.shape, float("-inf"))
        states: dict[int, Tensor] = {}
        for name in sorted({name for route in routes for name in route}):
            rows = [row for row in own if name in routes[row]]
            together = here.splits_models and self.teachers[name].split()
            if not (rows or together):
                continue
            part = batch.select(rows)
            with self._opened(name) as teacher:
                if logprobs:
                    scores = self._checked(name, teacher.logprobs(part).cpu().float(), part.completion_mask)
                    weighted = scores + torch.tensor([routes[row][name] for row in rows]).log()[:, None]
                    width = scores.shape[1]
                    mixture[rows, :width] = torch.logaddexp(mixture[rows, :width], weighted)
                if hidden:
                    states.update(zip(rows, self._states(name, teacher, part), strict=True))
                    head = teacher.head()
                    if rows:
                        batch.teacher_heads[name] = head
        if logprobs:
            mine = torch.zeros(len(batch), 1, dtype=torch.bool)
            mine[own] = True
            batch.teacher = here.merge(torch.where(batch.completion_mask & mine, mixture, 0.0))
        if hidden:
            batch.teacher_hidden = [states.get(row, ELSEWHERE) for row in range(len(batch))]

    def _refuse_mixtures(self, teachers: list[str]) -> None:
        mixed = teachers.count("")
        if mixed:
            raise TeacherError(
                f"{mixed} samples are routed to several teachers, whose hidden states cannot be mixed",
                fix="route each sample to one teacher, or use a sampled-token loss",
            )

    def _states(self, name: str, teacher: Teacher, part: RolloutBatch) -> list[Tensor]:
        """Return each row's hidden states."""
        hidden = teacher.hidden_states(part)
        lengths = part.completion_lengths.tolist()
        if hidden.ndim != 2 or hidden.shape[0] != sum(lengths):
            raise self._malformed(name, f"hidden states of shape {list(hidden.shape)} for {sum(lengths)} tokens")
        return list(torch.split(hidden, lengths))

    @contextmanager
    def _opened(self, name: str) -> Iterator[Teacher]:
        teacher = self.teachers[name]
        try:
            teacher.open()
            yield teacher
        except CollegiumError:
            raise
        except Exception as error:
            story = str(error) if isinstance(error, NotImplementedError) else f"{type(error).__name__}: {error}"
            raise TeacherError(f"teacher {name!r} cannot score: {story}", owner=self.owners.get(name)) from error
        finally:
            teacher.close()

    def _checked(self, name: str, scores: Tensor, mask: Tensor) -> Tensor:
        if scores.shape != mask.shape:
            raise self._malformed(name, f"log-probs of shape {list(scores.shape)} for a batch of {list(mask.shape)}")
        values = scores[mask]
        if bool(values.isnan().any()) or bool((values > 1e-4).any()):  # minus infinity is a probability of 0
            raise self._malformed(name, "log-probs that are positive or not numbers")
        return scores

    def _malformed(self, name: str, found: str) -> TeacherError:
        owner = self.owners.get(name)
        return TeacherError(
            f"teacher {name!r} returned {found}", fix=f"report it to {owner or 'its package'}", owner=owner
        )


def teacher_metrics(batch: RolloutBatch, names: Collection[str]) -> dict[str, float]:
    """Return each teacher's share of the rows and of the trained tokens, and the sampled estimate of its reverse KL.

    A token's log-ratio counts as at most `MAX_LOG_RATIO` nats: one that a teacher never gives would be infinite.
    """
    metrics: dict[str, float] = {}
    lengths = batch.completion_lengths
    if batch.teacher is not None and batch.old is not None:
        metrics["kl"] = float(_gap(batch)[batch.completion_mask].mean())
    for name in sorted(names):
        rows = torch.tensor([teacher == name for teacher in batch.teachers])
        if not bool(rows.any()):
            continue
        metrics[f"share/rows/{name}"] = float(rows.float().mean())
        metrics[f"share/tokens/{name}"] = float(lengths[rows].sum() / lengths.sum())
        if batch.teacher is not None and batch.old is not None:
            metrics[f"kl/{name}"] = float(_gap(batch)[rows][batch.completion_mask[rows]].mean())
    return metrics


def _gap(batch: RolloutBatch) -> Tensor:
    """Return the log-ratio of policy to teacher at every token, ``[B, T]``, at most `MAX_LOG_RATIO`."""
    gap = require(batch, "old", "metrics") - require(batch, "teacher", "metrics")
    return gap.clamp(max=MAX_LOG_RATIO)
