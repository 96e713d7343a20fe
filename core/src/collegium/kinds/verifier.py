"""Verifiers: judge one completion of one task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from collegium.component import Configurable
from collegium.kinds.perturbation import Perturbation
from collegium.task import Completion, Task
from collegium.verdict import Verdict


class Verifier(Configurable):
    """Judge completions. Subclass and write `verify`; plain Python, no torch.

    The core calls `verify_batch` from worker threads under a time limit, checks what comes back (length, type, range)
    and turns an exception into an `Error` owned by the component's distribution. An instance is shared between threads.
    """

    timeout_s: ClassVar[float] = 10.0
    """Seconds that one completion may take; the core multiplies by the batch for `verify_batch`."""
    deterministic: ClassVar[bool] = True
    """The same completion and task always give the same verdict, so that the core may reuse it within a run."""
    form_only: ClassVar[bool] = False
    """It judges form, not content: whatever has the form is right, so most exploit probes of an audit say nothing."""

    def verify(self, completion: Completion, task: Task) -> Verdict:
        """Judge one completion.

        Returns:
            `Score` in ``[0, 1]``, `Abstain`, or `Error`.
        """
        raise NotImplementedError

    def verify_batch(self, completions: Sequence[Completion], tasks: Sequence[Task]) -> Sequence[Verdict]:
        """Judge many at once; override where that is cheaper. Order and length are the inputs'."""
        return [self.verify(completion, task) for completion, task in zip(completions, tasks, strict=True)]

    def perturbations(self, completion: Completion, task: Task) -> Iterable[Perturbation]:
        """Rewrite a right completion; `collegium audit` holds the verifier to what it says here. Default: nothing."""
        return ()

    def close(self) -> None:
        """Release what the verifier holds (processes, files)."""
