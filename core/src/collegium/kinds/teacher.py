"""Teachers: models that score the student's own tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from collegium.component import Config, Configurable

if TYPE_CHECKING:
    from torch import Tensor

    from collegium.training.batch import RolloutBatch
    from collegium.training.language_model import TokenizerIdentity


class TeacherConfig(Config):
    """Base of a teacher's options. Its methods tell the run of what can be checked before the teacher is asked."""

    gives_states: ClassVar[bool] = True
    """Whether it gives hidden states, or log-probs only."""

    def local_model(self) -> str | None:
        """Return the folder or hub name of the model that teaches, if the run may evaluate it; None if it cannot."""
        return None

    def tokenizer_folder(self) -> str | None:
        """Return a folder or hub name with the teacher's tokenizer; None if only the teacher itself knows."""
        return self.local_model()


class Teacher(Configurable):
    """Score completions token by token. `open` and `close` bracket a batch: one teacher is resident at a time."""

    Config: ClassVar[type[TeacherConfig]] = TeacherConfig

    def identity(self) -> TokenizerIdentity:
        """The teacher's token->id map, special tokens and chat template, as hashes; compared with the student's."""
        raise NotImplementedError

    def split(self) -> bool:
        """Split the weights over the ranks from the next `open` on and return True; one that cannot returns False.

        Asked where the student's weights are split. Every rank then opens the teacher and asks it as often as the
        others, about an empty batch too, and `logprobs` and `hidden_states` run as many forward passes on each.
        """
        return False

    def open(self) -> None:
        """Make the teacher ready to score (load weights, check the endpoint)."""

    def logprobs(self, batch: RolloutBatch) -> Tensor:
        """Return log p(token) in nats at temperature 1, shape ``[B, T]``, zero outside `batch.completion_mask`."""
        raise NotImplementedError

    def hidden_states(self, batch: RolloutBatch) -> Tensor:
        """Return the last hidden state that predicts each completion token, ``[N, D]``, in row-major mask order.

        Raises:
            NotImplementedError: If the teacher only gives log-probs.
        """
        raise NotImplementedError(f"{type(self).__name__} gives log-probs only; use a sampled-token loss")

    def head(self) -> Tensor:
        """Return the LM head's weight, shape ``[V, D]``."""
        raise NotImplementedError(f"{type(self).__name__} gives log-probs only; use a sampled-token loss")

    def close(self) -> None:
        """Release what `open` took."""
