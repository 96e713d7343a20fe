"""A transformer body whose head writes one number for each state: what reward models and value functions are.

The checkpoint is one of `transformers`' sequence classification with one label, and its `from_pretrained` gives the
last token's number.

Shapes: ``D`` width.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, Self, cast

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from collegium.errors import PolicyError
from collegium.model_files import check_model_folder, is_local
from collegium.training.distributed import world
from collegium.training.language_model import LanguageModel
from collegium.training.tokenizers import padding
from collegium.training.waiting import Waiting

HEAD = "score.weight"


class ScalarHeadModel(LanguageModel):
    """A transformer body with a scalar head, and its tokenizer."""

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | str = torch.float32,
        *,
        head: Literal["trained", "new", "either"] = "trained",
        seed: int = 0,
    ) -> Self:
        """Load a body and its head, in evaluation mode; as `LanguageModel.load` does, it waits where models are split.

        Args:
            path: Folder or hub name.
            device: Where to put the weights.
            dtype: Their precision; ``"auto"`` keeps the checkpoint's.
            head: What the checkpoint must have: a trained head; none, as a language model has none, and it gets a new
                one; or either. A new head's weights are normal with variance ``1 / (D + 1)`` (arXiv 2009.01325).
            seed: Of a new head.

        Raises:
            PolicyError: If the checkpoint is another one.
        """
        name = str(path)
        if is_local(name):
            check_model_folder(path)
        try:
            tokenizer = AutoTokenizer.from_pretrained(name)
            options = {"num_labels": 1, "pad_token_id": padding(tokenizer)}
            config = AutoConfig.from_pretrained(name, **options)
        except Exception as error:
            raise cls.unusable(name, f"cannot be loaded: {type(error).__name__}: {error}") from error
        make = partial(cls._with_weights, name, options, dtype, head, seed)
        if world().splits_models:
            return cls.split_later(Waiting(make, device), partial(_without_weights, config, dtype), tokenizer)
        loaded = cls(make(), tokenizer)
        loaded.to(device)
        loaded.check_head()
        return loaded

    @classmethod
    def _with_weights(
        cls, path: str, options: dict[str, Any], dtype: torch.dtype | str, head: str, seed: int
    ) -> PreTrainedModel:
        """Load body and head in main memory, and make a new head where there is none."""
        try:
            with _without_report():
                found: Any = AutoModelForSequenceClassification.from_pretrained(
                    path, **options, dtype=dtype, output_loading_info=True
                )
        except Exception as error:
            raise cls.unusable(path, f"cannot be loaded: {type(error).__name__}: {error}") from error
        model, loading = found
        names, missing = dict(model.named_parameters()), set(loading["missing_keys"])
        if HEAD not in names or "score.bias" in names:
            raise cls.unusable(path, f"is a {type(model).__name__}, which has no plain linear head named score")
        if lacking := sorted(missing if head == "trained" else missing - {HEAD}):
            raise cls.unusable(path, f"lacks the weights {', '.join(lacking[:5])}")
        if head == "new" and not missing:
            raise cls.unusable(path, "has a scalar head already, expected a language model")
        if missing:
            _renew(names[HEAD], seed)
        model.eval()
        return cast("PreTrainedModel", model)

    @classmethod
    def unusable(cls, path: str, found: str) -> PolicyError:
        """Return the error of a checkpoint that cannot be used; a subclass says for what, and how to mend it.

        Args:
            path: The checkpoint.
            found: What is wrong, as the rest of a sentence that begins with "it".
        """
        return PolicyError(
            f"{path!r} cannot be used with a scalar head: it {found}",
            fix="give a sequence classification checkpoint with one label",
        )

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

    def check_head(self) -> None:
        """Check that the number is the head applied to the last token's state.

        Raises:
            PolicyError: If the architecture does more.
        """
        unread = self.text_config.pad_token_id
        ids = [token for token in range(min(self.vocabulary, 8)) if token != unread]
        tokens = torch.tensor([ids], device=self.device)
        with torch.no_grad():
            number = self.model(input_ids=tokens).logits.float()
            rebuilt = nn.functional.linear(self.hidden_states(tokens, None)[:, -1], self.head).float()
        if not torch.allclose(number, rebuilt, atol=1e-2, rtol=1e-2):
            raise PolicyError(
                f"{type(self.model).__name__} does more than apply its head to the last token's state",
                fix="use an architecture whose sequence classification does no more, such as Llama's",
            )


@torch.no_grad()
def _renew(weight: Tensor, seed: int) -> None:
    """Fill a new head, ``[1, D]``."""
    generator = torch.Generator().manual_seed(seed)
    weight.copy_(torch.randn(weight.shape, generator=generator) / (weight.shape[1] + 1) ** 0.5)


def _without_weights(config: PretrainedConfig, dtype: torch.dtype | str) -> PreTrainedModel:
    """Build the model of a configuration; what its weights are is nobody's concern."""
    make: Any = AutoModelForSequenceClassification.from_config
    return cast("PreTrainedModel", make(copy.deepcopy(config), **({} if dtype == "auto" else {"dtype": dtype})))


@contextmanager
def _without_report() -> Iterator[None]:
    """Keep `transformers` from warning of the new head: it is asked for, or it is an error here."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # transformers
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)
