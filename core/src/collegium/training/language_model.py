"""The language model as training sees it: hidden states, the head, log-probs, and its tokenizer.

Shapes: ``B`` sequences, ``T`` tokens, ``N`` trained tokens in row-major mask order, ``V`` vocabulary, ``D`` width.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from collegium.errors import PolicyError
from collegium.model_files import check_model_folder, is_local
from collegium.training.batch import RolloutBatch
from collegium.training.logprobs import scatter_to_tokens, token_logprobs
from collegium.training.packing_probe import keeps_apart
from collegium.training.shared_prompts import share_prompts
from collegium.training.tokenizers import TokenizerIdentity, end_of_sequence

__all__ = ["HiddenStates", "LanguageModel", "TokenizerIdentity"]

LOGIT_OPTIONS = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Options of configurations that change logits after the head."""


class HiddenStates(nn.Module):
    """The model up to its last hidden state, as a module whose `forward` a distributed wrapper can hook."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, attention_mask: Tensor | None, position_ids: Tensor | None = None) -> Tensor:
        """Return the last hidden states, ``[B, T, D]``."""
        output = self.model.base_model(
            input_ids=tokens, attention_mask=attention_mask, position_ids=position_ids, use_cache=False
        )
        hidden: Tensor = output.last_hidden_state
        return hidden


class LanguageModel:
    """A causal language model and its tokenizer.

    Args:
        model: A `transformers` causal language model.
        tokenizer: Its tokenizer.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.forward_module: nn.Module = HiddenStates(model)
        """What runs a forward pass; training replaces it by its distributed wrapper."""

    @classmethod
    def load(
        cls, path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | str = torch.float32
    ) -> LanguageModel:
        """Load a model and its tokenizer from a folder or a hub name, in evaluation mode.

        Args:
            path: Folder or hub name.
            device: Where to put the weights.
            dtype: Their precision; ``"auto"`` keeps the checkpoint's.

        Raises:
            PolicyError: If the folder is not a checkpoint, or its logits are not a linear map of its hidden states.
        """
        if is_local(str(path)):
            check_model_folder(path)
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(path))
            found: Any = AutoModelForCausalLM.from_pretrained(str(path), dtype=dtype, output_loading_info=True)
        except Exception as error:
            raise PolicyError(
                f"model {str(path)!r} cannot be loaded: {type(error).__name__}: {error}",
                fix="check the path or hub name; a truncated download has to be fetched again",
            ) from error
        model, loading = found
        if missing := sorted(loading["missing_keys"]):
            raise PolicyError(
                f"model {str(path)!r} has no weights for {', '.join(missing[:3])}: they would be random",
                fix="give the checkpoint of a causal language model; a reward model is none",
            )
        model.eval()
        loaded = cls(model, tokenizer).to(device)
        loaded.check_head()
        return loaded

    def to(self, device: str | torch.device) -> LanguageModel:
        """Move the weights to a device and return the same model."""
        self.model.to(torch.device(device))  # type: ignore[arg-type]  # transformers wraps `to` without its types
        return self

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.model.device

    @property
    def head(self) -> Tensor:
        """The LM head's weight, ``[V, D]``; its gradient flows to the model."""
        weight: Tensor = self.model.get_output_embeddings().weight  # type: ignore[no-untyped-call]  # transformers
        return weight

    @property
    def head_bias(self) -> Tensor | None:
        """The LM head's bias, ``[V]``, where there is one."""
        output = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]  # transformers
        return getattr(output, "bias", None)

    @property
    def context_length(self) -> int | None:
        """The most tokens of a sequence; None where the architecture does not say."""
        return getattr(self.model.config, "max_position_embeddings", None)

    @property
    def stop_ids(self) -> frozenset[int]:
        """The ids that end a completion: the tokenizer's end of sequence and those of the generation config."""
        configured = getattr(self.model.generation_config, "eos_token_id", None)
        more = configured if isinstance(configured, list) else [configured]
        return frozenset({end_of_sequence(self.tokenizer), *(int(token) for token in more if token is not None)})

    @property
    def identity(self) -> TokenizerIdentity:
        """The tokenizer's identity."""
        return TokenizerIdentity.of(self.tokenizer)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Iterate over the weights."""
        return self.model.parameters()

    def hidden_states(
        self, tokens: Tensor, attention_mask: Tensor | None, position_ids: Tensor | None = None
    ) -> Tensor:
        """Return the last hidden states.

        Args:
            tokens: ``[B, T]`` int64.
            attention_mask: ``[B, T]`` (1 = real), or ``[B, 1, T, T]`` additive, or None for no padding.
            position_ids: ``[B, T]``; default: counted from the row's start.

        Returns:
            ``[B, T, D]``.
        """
        hidden: Tensor = self.forward_module(tokens, attention_mask, position_ids)
        return hidden

    def can_pack(self, longest: int) -> bool:
        """Tell whether a mask of ours can keep sequences of up to `longest` tokens in one row apart.

        It cannot where attention takes no mask, a layer has a memory besides attention, positions are counted from
        the row's start, or a window would be shorter. What the configuration does not say is tried out, once.
        """
        config = self.model.config
        windows = [getattr(config, name, None) for name in ("sliding_window", "window_size", "attention_window")]
        layers = set(getattr(config, "layer_types", None) or ["full_attention"])
        return (
            config._attn_implementation in ("sdpa", "eager")
            and layers <= {"full_attention", "sliding_attention"}
            and all(not window or (isinstance(window, int) and longest <= window) for window in windows)
            and self._keeps_apart
        )

    @cached_property
    def _keeps_apart(self) -> bool:
        """Whether two completions behind one shared prompt get the states that each gets in a row of its own."""
        was_training = self.model.training
        self.model.train(False)
        try:
            return keeps_apart(self.hidden_states, len(self.head), self.device, self.model.dtype)
        finally:
            self.model.train(was_training)

    def predicting_states(self, batch: RolloutBatch) -> Tensor:
        """Return the states that predict the batch's trained tokens, ``[N, D]``; a prompt of many rows is run once."""
        packs = self.can_pack(batch.token_ids.shape[1])
        shared = share_prompts(batch, self.head.shape[1]) if packs else None
        if shared is not None:
            mask = shared.attention_mask(self.model.dtype)
            return self.hidden_states(shared.token_ids, mask, shared.position_ids).flatten(0, 1)[shared.predictors]
        hidden = self.hidden_states(batch.token_ids, batch.attention_mask.long())
        return hidden[:, :-1][batch.completion_mask[:, 1:]]

    def completion_logprobs(self, batch: RolloutBatch) -> Tensor:
        """Return the log-prob of each trained token, ``[N]`` float32, with its gradient if there is one."""
        targets = batch.token_ids[batch.completion_mask]
        return token_logprobs(self.predicting_states(batch), self.head, targets, bias=self.head_bias)[0]

    def logprobs(self, batch: RolloutBatch) -> Tensor:
        """Return the log-prob of each trained token, ``[B, T]`` float32, zero elsewhere."""
        return scatter_to_tokens(self.completion_logprobs(batch), batch.completion_mask)

    def check_head(self) -> None:
        """Check that logits are the head applied to the last hidden state.

        Raises:
            PolicyError: If the architecture scales or caps its logits, which chunked log-probs would miss.
        """
        found = {name: getattr(self.model.config, name, None) for name in LOGIT_OPTIONS}
        changed = {name: value for name, value in found.items() if value not in (None, 1, 1.0)}
        tokens = torch.arange(min(len(self.head), 8), device=self.device)[None]
        with torch.no_grad():
            logits = self.model(input_ids=tokens).logits.float()
            rebuilt = nn.functional.linear(self.hidden_states(tokens, None), self.head, self.head_bias).float()
        if changed or not torch.allclose(logits, rebuilt, atol=1e-2, rtol=1e-2):
            raise PolicyError(
                f"{type(self.model).__name__} does more to its logits than apply its head (scaling or capping): "
                f"{changed or 'they differ from the head applied to the last hidden state'}",
                fix="use an architecture with a plain LM head",
            )

    def save(self, path: str | Path) -> None:
        """Write model and tokenizer to a folder that `load` and `from_pretrained` read."""
        self.model.save_pretrained(str(path))
        self.tokenizer.save_pretrained(str(path))
