"""The value model: a transformer body with a scalar head, read before every token that the policy wrote.

Its checkpoint form is that of `transformers`' sequence classification with one label, which is a reward model's as
well: what a reward model says of a text is, to begin with, the value of having written it (InstructGPT, Tulu 3).

Shapes: ``B`` sequences, ``T`` tokens, ``N`` trained tokens in row-major mask order, ``D`` width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from collegium import PolicyError
from collegium.model_files import check_model_folder, is_local
from collegium.training.batch import RolloutBatch, deal
from collegium.training.distributed import world
from collegium.training.language_model import LanguageModel
from collegium.training.logprobs import scatter_to_tokens
from collegium.training.tokenizers import padding
from collegium_ppo.config import OWNER

HEAD = "score.weight"


class ValueModel(LanguageModel):
    """A transformer body with a scalar head, and its tokenizer."""

    @classmethod
    def from_reward_model(cls, path: str, device: str | torch.device) -> ValueModel:
        """Take a reward model's body and head.

        Raises:
            PolicyError: If the checkpoint has no trained scalar head.
        """
        loaded, missing = _load(path)
        if missing:
            raise _not_usable(path, f"lacks the weights {', '.join(sorted(missing)[:5])}")
        loaded.to(device)
        return loaded

    @classmethod
    def from_policy(cls, path: str, device: str | torch.device, seed: int) -> ValueModel:
        """Take a language model's body and give it a new head, normal with variance ``1 / (D + 1)``.

        Raises:
            PolicyError: If the checkpoint is none of a language model.
        """
        loaded, missing = _load(path)
        if missing != {HEAD}:
            found = f"lacks {', '.join(sorted(missing)[:5])}" if missing else "has a scalar head already"
            raise _not_usable(path, f"{found}, expected a language model")
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            weight = loaded.head
            weight.copy_(torch.randn(weight.shape, generator=generator) / (weight.shape[1] + 1) ** 0.5)
        loaded.to(device)
        return loaded

    @property
    def head(self) -> Tensor:
        """The scalar head's weight, ``[1, D]``."""
        weight: Tensor = self.model.get_parameter(HEAD)
        return weight

    @property
    def head_bias(self) -> None:
        """None: the head has no bias."""
        return

    @cached_property
    def vocabulary(self) -> int:
        """Tokens that it can read; the head has one row."""
        embeddings: Any = self.model.get_input_embeddings()
        return len(embeddings.weight)

    def values(self, batch: RolloutBatch) -> Tensor:
        """Return what is expected before each trained token, ``[B, T]`` float32, with its gradient; zero elsewhere."""
        return scatter_to_tokens(self.read_completions(batch, read_values), batch.completion_mask)


def read_values(states: Tensor, head: Tensor, _: Tensor | None) -> Tensor:
    """Return the value at each state, ``[N]`` float32.

    Args:
        states: ``[N, D]``.
        head: ``[1, D]``.
    """
    return (states.float() @ head.float().T)[:, 0]


@torch.no_grad()
def score_values(model: ValueModel, batch: RolloutBatch, micro_batch: int) -> Tensor:
    """Return the values of the batch, ``[B, T]``, in main memory; each rank computes its own rows."""
    here = world()
    lengths = batch.attention_mask.sum(dim=1).tolist()
    rows = sorted(deal(batch, here.size)[here.rank], key=lambda row: lengths[row])
    values = torch.zeros(batch.token_ids.shape)
    for chosen in here.in_step([rows[start : start + micro_batch] for start in range(0, len(rows), micro_batch)]):
        if chosen is None:
            model.idle()
            continue
        part = model.values(batch.select(chosen).to(model.device)).cpu()
        values[chosen, : part.shape[1]] = part
    return here.merge(values)


def _load(path: str) -> tuple[ValueModel, set[str]]:
    """Return the model, in evaluation mode, and the names of the weights that the checkpoint does not have."""
    if is_local(path):
        check_model_folder(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        with _without_report():
            model, found = AutoModelForSequenceClassification.from_pretrained(
                path, num_labels=1, dtype=torch.float32, pad_token_id=padding(tokenizer), output_loading_info=True
            )
    except Exception as error:
        raise _not_usable(path, f"cannot be loaded: {type(error).__name__}: {error}") from error
    names = dict(model.named_parameters())
    if HEAD not in names or "score.bias" in names:
        raise _not_usable(path, f"is a {type(model).__name__}, which has no plain linear head named score")
    model.eval()
    return ValueModel(model, tokenizer), set(found["missing_keys"])


@contextmanager
def _without_report() -> Iterator[None]:
    """Keep `transformers` from warning of the new head: it is asked for, or it is an error here."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # transformers
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def _not_usable(path: str, found: str) -> PolicyError:
    return PolicyError(
        f"the value function cannot start from {path!r}: it {found}",
        fix="give reward_models: the artifact of a reward-model stage, or set value_init: policy",
        owner=OWNER,
    )
