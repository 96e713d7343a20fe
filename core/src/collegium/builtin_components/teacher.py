"""The teacher `checkpoint`: a model in a local folder (or on the hub) that scores in process."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor
from transformers import AutoTokenizer

from collegium.builtin_components.configs import CheckpointTeacherConfig
from collegium.errors import PolicyError, TeacherError
from collegium.kinds.teacher import Teacher
from collegium.training.batch import RolloutBatch
from collegium.training.distributed import world
from collegium.training.language_model import LanguageModel
from collegium.training.logprobs import scatter_to_tokens
from collegium.training.tokenizers import TokenizerIdentity


class CheckpointTeacher(Teacher):
    """Load the checkpoint when opened; when closed, move it, or this rank's share, off the device or drop it."""

    Config = CheckpointTeacherConfig

    _model: LanguageModel | None = None
    _opened = False
    _splits = False

    @cached_property
    def _identity(self) -> TokenizerIdentity:
        try:
            return TokenizerIdentity.of(AutoTokenizer.from_pretrained(self.config.path))
        except Exception as error:
            raise TeacherError(
                f"the tokenizer of teacher checkpoint {self.config.path!r} cannot be loaded: {error}",
                fix="point the teacher to a folder written by save_pretrained (model and tokenizer)",
                owner="collegium",
            ) from error

    def identity(self) -> TokenizerIdentity:
        """Read the tokenizer's identity; the weights are not loaded for it."""
        return self._identity

    def split(self) -> bool:
        """Split the weights over the ranks."""
        self._splits = True
        return True

    def open(self) -> None:
        """Load the weights, or move them back to the device.

        Raises:
            TeacherError: If the folder is not a checkpoint.
        """
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self._model is None:
            try:
                model = LanguageModel.load(self.config.path, device, dtype="auto")
                self._model = model.split() if self._splits else model
            except PolicyError as error:
                raise TeacherError(
                    f"teacher checkpoint cannot be used: {error.problems[0].what}",
                    fix=error.problems[0].fix,
                    owner="collegium",
                ) from error
        self._model.to(device)
        self._opened = True

    def close(self) -> None:
        """Free the device."""
        self._opened = False
        if self._model is not None and self.config.offload == "cpu":
            self._model.to("cpu")
        else:
            self._model = None

    @torch.no_grad()
    def logprobs(self, batch: RolloutBatch) -> Tensor:
        """Return log p(token), ``[B, T]``, zero outside the completions."""
        none = torch.empty(0, device=batch.token_ids.device)
        return scatter_to_tokens(
            torch.cat([none, *self._ask(batch, LanguageModel.completion_logprobs)]), batch.completion_mask
        )

    @torch.no_grad()
    def hidden_states(self, batch: RolloutBatch) -> Tensor:
        """Return the states that predict the trained tokens, ``[N, D]``."""
        parts = self._ask(batch, LanguageModel.predicting_states)
        return torch.cat(parts) if parts else torch.empty(0, self._open_model().width)

    def head(self) -> Tensor:
        """Return a copy of the LM head's weight in main memory, ``[V, D]``, that outlives `close`."""
        model = self._open_model()
        if model.head_bias is not None:
            raise NotImplementedError(f"{self.config.path!r} has an LM head with a bias; use a sampled-token loss")
        return model.copy_of_head()

    def _open_model(self) -> LanguageModel:
        if self._model is None or not self._opened:
            raise TeacherError(
                f"teacher checkpoint {self.config.path!r} is closed", fix="open it first", owner="collegium"
            )
        return self._model

    def _ask(self, batch: RolloutBatch, ask: Callable[[LanguageModel, RolloutBatch], Tensor]) -> list[Tensor]:
        """Return what the model makes of each micro-batch; where its weights are split, the ranks run as many."""
        model, size, made = self._open_model(), self.config.micro_batch, []
        parts = [range(start, min(start + size, len(batch))) for start in range(0, len(batch), size)]
        for rows in world().in_step(parts) if self._splits else parts:
            if rows is None:
                model.idle()
            else:
                made.append(ask(model, batch.select(rows).to(model.device)).to(batch.token_ids.device))
        return made
