"""The teacher `checkpoint`: a model in a local folder (or on the hub) that scores in process."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor
from transformers import AutoTokenizer

from collegium.builtin_components.configs import CheckpointTeacherConfig
from collegium.errors import PolicyError, TeacherError
from collegium.kinds.teacher import Teacher
from collegium.training.batch import RolloutBatch
from collegium.training.language_model import LanguageModel
from collegium.training.logprobs import scatter_to_tokens
from collegium.training.tokenizers import TokenizerIdentity


class CheckpointTeacher(Teacher):
    """Load the checkpoint when opened; when closed, move it off the device or drop it."""

    Config = CheckpointTeacherConfig

    _model: LanguageModel | None = None
    _opened = False

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

    def open(self) -> None:
        """Load the weights, or move them back to the device.

        Raises:
            TeacherError: If the folder is not a checkpoint.
        """
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self._model is None:
            try:
                self._model = LanguageModel.load(self.config.path, device, dtype="auto")
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
        model = self._open_model()
        parts = [model.completion_logprobs(part.to(model.device)) for part in self._parts(batch)]
        return scatter_to_tokens(torch.cat(parts).to(batch.token_ids.device), batch.completion_mask)

    @torch.no_grad()
    def hidden_states(self, batch: RolloutBatch) -> Tensor:
        """Return the states that predict the trained tokens, ``[N, D]``."""
        model = self._open_model()
        parts = [model.predicting_states(part.to(model.device)) for part in self._parts(batch)]
        return torch.cat(parts).to(batch.token_ids.device)

    def head(self) -> Tensor:
        """Return a copy of the LM head's weight in main memory, ``[V, D]``, that outlives `close`."""
        model = self._open_model()
        if model.head_bias is not None:
            raise NotImplementedError(f"{self.config.path!r} has an LM head with a bias; use a sampled-token loss")
        return model.head.detach().to("cpu", copy=True)

    def _open_model(self) -> LanguageModel:
        if self._model is None or not self._opened:
            raise TeacherError(
                f"teacher checkpoint {self.config.path!r} is closed", fix="open it first", owner="collegium"
            )
        return self._model

    def _parts(self, batch: RolloutBatch) -> Iterator[RolloutBatch]:
        for start in range(0, len(batch), self.config.micro_batch):
            yield batch.select(range(start, min(start + self.config.micro_batch, len(batch))))
