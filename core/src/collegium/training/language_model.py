"""The language model as training sees it: hidden states, the head, log-probs, and its tokenizer.

Shapes: ``B`` sequences, ``T`` tokens, ``N`` trained tokens in row-major mask order, ``V`` vocabulary, ``D`` width.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from collegium.errors import PolicyError
from collegium.model_files import check_model_folder, is_local
from collegium.task import Task
from collegium.training.batch import RolloutBatch
from collegium.training.distributed import world
from collegium.training.forward_pass import (
    ForwardPass,
    Reader,
    Shards,
    logprobs_of,
    nothing,
    predicting,
    states_alone,
)
from collegium.training.logprobs import scatter_to_tokens
from collegium.training.packing_probe import keeps_apart
from collegium.training.shared_prompts import share_prompts
from collegium.training.tokenizers import TokenizerIdentity, encode_prompt, end_of_sequence
from collegium.training.vision import Pictures, Vision, freeze_unread, refuse_pictures
from collegium.training.waiting import Waiting, adopt, bare, generation_config_of

if TYPE_CHECKING:
    from collegium.training.adapter import Adapter

__all__ = ["LanguageModel", "TokenizerIdentity"]

LOGIT_OPTIONS = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Options of configurations that change logits after the head."""


class LanguageModel:
    """A causal language model and its tokenizer.

    Args:
        model: A `transformers` causal language model, or one of text and pictures.
        tokenizer: Its tokenizer.
        vision: What it makes of pictures; None for a model of text alone.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, vision: Vision | None = None
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.vision = vision
        forward = ForwardPass(model, lambda: (self.head, self.head_bias))
        forward.blank = None if vision is None else vision.blank.pixels[None]
        self.forward_module: nn.Module = forward
        """What runs a forward pass; training replaces it by its distributed wrapper."""
        self.compute_dtype: torch.dtype = model.dtype
        """The precision of the layers' numbers, and so of attention masks."""
        self.shards: Shards | None = None
        """Who has the weights' whole form, where the model itself does not."""
        self.adapter: Adapter | None = None
        """What is trained in place of the whole model."""
        self.waiting: Waiting | None = None
        """Weights that the model does not have yet, as they are to be split over ranks."""
        self._replica: LanguageModel | None = None

    @classmethod
    def load(
        cls, path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | str = torch.float32
    ) -> LanguageModel:
        """Load a model and its tokenizer, and its processor of pictures, from a folder or a hub name.

        It is in evaluation mode. Where the stage's strategy splits models, the first rank alone loads the weights, in
        main memory, and they wait there for the trainer or `split`; any other use makes the model whole on its rank.

        Args:
            path: Folder or hub name.
            device: Where to put the weights.
            dtype: Their precision; ``"auto"`` keeps the checkpoint's.

        Raises:
            PolicyError: If the folder is not a checkpoint, or its logits are not a linear map of its hidden states, or
                it reads pictures in a way of its own.
        """
        if is_local(str(path)):
            check_model_folder(path)
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(path))
            config = AutoConfig.from_pretrained(str(path))
        except Exception as error:
            raise unloadable(str(path), error) from error
        vision = Vision.load(path, config) if reads_pictures(config) else None
        whole = partial(with_weights, str(path), config, vision, dtype)
        if not world().splits_models:
            loaded = cls(whole(), tokenizer, vision).to(device)
            loaded.check_head()
            return loaded
        waiting = Waiting(whole, device)
        return cls.split_later(waiting, partial(without_weights, str(path), config, dtype), tokenizer, vision)

    @classmethod
    def split_later(
        cls,
        waiting: Waiting,
        build: Callable[[], PreTrainedModel],
        tokenizer: PreTrainedTokenizerBase,
        vision: Vision | None = None,
    ) -> Self:
        """Return a model whose weights wait.

        Args:
            waiting: The weights.
            build: Builds the same model with weights of no meaning.
            tokenizer: Its tokenizer.
            vision: What it makes of pictures.

        Raises:
            PolicyError: If its logits are not a linear map of its hidden states, or it reads pictures in a way of its
                own; on the first rank, which has the weights.
        """
        if waiting.source is not None:
            cls(waiting.source, tokenizer, vision).check_head()
        loaded = cls(bare(build), tokenizer, vision)
        loaded.waiting = waiting
        return loaded

    def to(self, device: str | torch.device) -> LanguageModel:
        """Move the weights to a device and return the same model."""
        if self.waiting is not None:
            self.waiting.device = torch.device(device)
        elif self.shards is not None and self.shards.splits_weights:
            self.forward_module.to(device)
        else:
            self.model.to(torch.device(device))  # type: ignore[arg-type]  # transformers wraps `to` without its types
        return self

    def split(self) -> LanguageModel:
        """Split waiting weights over the ranks for forward passes alone, and return the same model.

        Every rank must take part, and run as many forward passes as the others from then on (`idle`). Where the stage's
        strategy splits no models, this does nothing.
        """
        if self.waiting is not None:
            from collegium.training.fully_shard import SplitWeights

            self.model.requires_grad_(requires_grad=False)
            SplitWeights(self, world())
        return self

    def make_whole(self) -> None:
        """Load waiting weights on this rank; no other has to take part."""
        if self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            adopt(self.model, waiting.whole())
            self.compute_dtype = self.model.dtype
            self.to(waiting.device)

    @property
    def device(self) -> torch.device:
        """Where its weights are, or are to be."""
        return self.model.device if self.waiting is None else self.waiting.device

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

    @cached_property
    def vocabulary(self) -> int:
        """Rows of the LM head, ``V``."""
        return len(self.head)

    @cached_property
    def width(self) -> int:
        """Width of the hidden states, ``D``."""
        return int(self.head.shape[1])

    @property
    def context_length(self) -> int | None:
        """The most tokens of a sequence; None where the architecture does not say."""
        return getattr(self.text_config, "max_position_embeddings", None)

    @property
    def text_config(self) -> PretrainedConfig:
        """The configuration of the part that reads text."""
        config: PretrainedConfig = self.model.config.get_text_config(decoder=True)
        return config

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

    def prompt_ids(self, task: Task) -> list[int]:
        """Return a task's prompt as the model reads it: each picture's placeholder as often as it has tokens.

        Raises:
            DataError: If the prompt cannot be encoded, or has more or fewer placeholders than pictures.
            PolicyError: If there are pictures and the model reads text alone.
        """
        ids = encode_prompt(self.tokenizer, task.prompt)
        if self.vision is None:
            refuse_pictures([task.images], f"the model (a {type(self.model).__name__})")
            return ids
        return self.vision.expanded(ids, task.images, task.id)[0]

    def read(
        self,
        reader: Reader,
        tokens: Tensor,
        attention_mask: Tensor | None,
        position_ids: Tensor | None = None,
        pictures: Pictures | None = None,
    ) -> Tensor:
        """Run a forward pass and return what a reader makes of its last hidden states and the head.

        Args:
            reader: Called once; what it returns must be a tensor, through which the gradient flows.
            tokens: ``[B, T]`` int64.
            attention_mask: ``[B, T]`` (1 = real), or ``[B, 1, T, T]`` additive, or None for no padding.
            position_ids: ``[B, T]``; default: counted from the row's start.
            pictures: The rows' pictures, if there are any.
        """
        self.make_whole()
        found: Tensor = self.forward_module(reader, tokens, attention_mask, position_ids, pictures)
        return found

    def idle(self) -> Tensor:
        """Run a forward pass over one token and return 0 that depends on every weight.

        A rank that has nothing left to compute does this, for the others may need it to put the weights together.
        """
        return self.read(nothing, torch.zeros(1, 1, dtype=torch.long, device=self.device), None)

    def hidden_states(
        self, tokens: Tensor, attention_mask: Tensor | None, position_ids: Tensor | None = None
    ) -> Tensor:
        """Return the last hidden states, ``[B, T, D]``; the arguments are those of `read`."""
        return self.read(states_alone, tokens, attention_mask, position_ids)

    def can_pack(self, longest: int) -> bool:
        """Tell whether a mask of ours can keep sequences of up to `longest` tokens in one row apart.

        It cannot where attention takes no mask, a layer has a memory besides attention, positions are counted from
        the row's start, or a window would be shorter. What the configuration does not say is tried out, once.
        """
        config = self.text_config
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
        """Whether two completions behind one shared prompt get the states that each gets in a row of its own.

        While its weights wait, the first rank finds out for all of them.
        """
        if self.waiting is not None:
            source = self.waiting.source
            return world().from_main(
                source is not None and type(self)(source, self.tokenizer, self.vision)._keeps_apart
            )
        was_training = self.model.training
        self.model.train(False)
        try:
            return keeps_apart(self.hidden_states, self.vocabulary, self.device, self.compute_dtype)
        finally:
            self.model.train(was_training)

    def read_completions(self, batch: RolloutBatch, reader: Reader) -> Tensor:
        """Run a batch and return what a reader makes of it; a prompt of many rows is run once.

        Args:
            batch: The sequences.
            reader: Gets the states that predict the trained tokens ``[N, D]``, the head and its bias.
        """
        pictures = self.pictures(batch.token_ids, batch.images)
        packs = self.can_pack(batch.token_ids.shape[1])
        shared = share_prompts(batch, self.width) if packs else None
        if shared is not None:
            flat, mask = shared.predictors, shared.attention_mask(self.compute_dtype)
            return self.read(
                lambda hidden, head, bias: reader(hidden.flatten(0, 1)[flat], head, bias),
                shared.token_ids, mask, shared.position_ids, self.pictures(shared.token_ids, shared.images),
            )  # fmt: skip
        return self.read(
            predicting(batch.completion_mask, reader), batch.token_ids, batch.attention_mask.long(), pictures=pictures
        )

    def pictures(self, tokens: Tensor, images: Sequence[Sequence[bytes]]) -> Pictures | None:
        """Return the pictures that the prompts of rows ``[B, T]`` show; None where there is none.

        Raises:
            PolicyError: If there are some and the model reads text alone.
        """
        if self.vision is None:
            refuse_pictures(images, f"the model (a {type(self.model).__name__})")
            return None
        return self.vision.leading(tokens, images)

    def predicting_states(self, batch: RolloutBatch) -> Tensor:
        """Return the states that predict the batch's trained tokens, ``[N, D]``."""
        return self.read_completions(batch, states_alone)

    def trained_logprobs(
        self,
        tokens: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor | None,
        trained: Tensor,
        pictures: Pictures | None = None,
    ) -> Tensor:
        """Return the log-probs of some tokens, ``[N]`` float32, with their gradient.

        Args:
            tokens: ``[B, T]`` int64.
            attention_mask: As for `read`.
            position_ids: As for `read`.
            trained: ``[B, T]`` bool, which tokens; none of them the first of its row.
            pictures: As for `read`.
        """
        targets = tokens[trained]
        return self.read(predicting(trained, logprobs_of(targets)), tokens, attention_mask, position_ids, pictures)

    def completion_logprobs(self, batch: RolloutBatch) -> Tensor:
        """Return the log-prob of each trained token, ``[N]`` float32, with its gradient if there is one.

        The distribution is the one that the batch says its tokens were sampled from: its temperature and kept ids.
        """
        targets = batch.token_ids[batch.completion_mask]
        return self.read_completions(batch, logprobs_of(targets, batch.temperature, batch.kept_sets))

    def logprobs(self, batch: RolloutBatch) -> Tensor:
        """Return the log-prob of each trained token, ``[B, T]`` float32, zero elsewhere."""
        return scatter_to_tokens(self.completion_logprobs(batch), batch.completion_mask)

    def check_head(self) -> None:
        """Check that logits are the head applied to the last hidden state, behind a picture too.

        Raises:
            PolicyError: If the architecture scales or caps its logits, which chunked log-probs would miss, or does more
                with pictures than put their features in the place of their tokens.
        """
        found = {name: getattr(self.text_config, name, None) for name in LOGIT_OPTIONS}
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
        if self.vision is not None:
            check_vision(self, self.vision)

    def save(self, path: str | Path, weights: dict[str, Tensor] | None = None) -> None:
        """Write model and tokenizer to a folder that `load` and `from_pretrained` read; an adapter is merged.

        Args:
            path: The folder.
            weights: What `state_dict` gave; needed where training has split the weights over ranks.
        """
        self.make_whole()
        if weights is None and self.adapter is not None:
            weights = self.state_dict()
        if weights is not None:  # a tied head is not written twice
            own = [name for name, _ in (*self.model.named_parameters(), *self.model.named_buffers())]
            kept = set(own if self.adapter is None else map(self.adapter.plain_name, own))
            weights = {name: weight for name, weight in weights.items() if name in kept}
        self.model.save_pretrained(str(path), state_dict=weights)
        (self.tokenizer if self.vision is None else self.vision.processor).save_pretrained(str(path))

    # Whole weights, for engines, references and files

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every weight by its Hugging Face name, detached and whole, a head that is tied to the embeddings too.

        They are those of the plain model: an adapter is merged into them. Where training has split the weights over
        ranks, every rank must iterate to the end.
        """
        self.make_whole()
        own = self.model.state_dict().items() if self.shards is None else self.shards.full_weights()
        yield from ((name, weight.detach()) for name, weight in self._plain(own))

    def _plain(self, weights: Iterable[tuple[str, Tensor]]) -> Iterable[tuple[str, Tensor]]:
        return weights if self.adapter is None else self.adapter.merged(weights)

    def state_dict(self, *, everywhere: bool = True) -> dict[str, Tensor]:
        """Return every weight, whole, in main memory; every rank must take part where the weights are split.

        Args:
            everywhere: Whether to return split weights on other ranks than the first, too.
        """
        keep = everywhere or self._is_first_of_split
        with torch.no_grad():
            return {name: weight.to("cpu", copy=True) for name, weight in self.named_weights() if keep}

    @property
    def _is_first_of_split(self) -> bool:
        """Whether this rank is the one that keeps split weights for files; each one that has them whole may."""
        return self.shards is None or not self.shards.splits_weights or world().is_main

    @torch.no_grad()
    def take(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take whole weights as `named_weights` gives them; every rank must take part where they are split."""
        self.make_whole()
        if self.shards is not None:
            self.shards.take(weights)
            return
        own = self.model.state_dict()
        for name, weight in weights:
            own[name].copy_(weight)

    def copy_of_head(self) -> Tensor:
        """Return the LM head's weight, whole, in main memory; every rank must take part where weights are split."""
        self.make_whole()
        head = self.head.detach()
        return (head.full_tensor() if isinstance(head, DTensor) else head).to("cpu", copy=True)

    def checkpoint(self) -> dict[str, Tensor]:
        """Return what training goes on from, by name in the model: `state_dict`, or the trained weights of an adapter.

        Every rank must take part where the weights are split, and only the first gets them.
        """
        if self.adapter is None:
            return self.state_dict(everywhere=False)
        if self.shards is not None:
            own = self.shards.trained_weights()
        else:
            own = ((name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad)
        keep = self._is_first_of_split
        return {name: weight.detach().to("cpu", copy=True) for name, weight in own if keep}

    @torch.no_grad()
    def whole(self) -> LanguageModel:
        """Return a plain model with the weights of this moment that any one rank may run.

        It is this one, unless ranks have split its weights or it has an adapter: then it is a copy, which the next call
        brings up to date.
        """
        self.make_whole()
        if self.adapter is None and (self.shards is None or not self.shards.splits_weights):
            return self
        if self._replica is None:
            self._replica = self.replica()
        self._replica.model.load_state_dict(dict(self.named_weights()))
        return self._replica

    def replica(self) -> LanguageModel:
        """Return a frozen plain model of the same architecture on the same device, its weights yet to be loaded."""
        make: Any = model_class(self.model.config).from_config
        model = make(copy.deepcopy(self.model.config), dtype=self.model.dtype)
        model.generation_config = copy.deepcopy(self.model.generation_config)
        model.requires_grad_(requires_grad=False)
        model.eval()
        return LanguageModel(model, self.tokenizer, self.vision).to(self.device)


def reads_pictures(config: PretrainedConfig) -> bool:
    """Tell whether a configuration is of a model of text and pictures; one that is loaded for text alone is not."""
    return type(config) in AutoModelForImageTextToText._model_mapping and type(config) not in (
        AutoModelForCausalLM._model_mapping
    )


def with_weights(
    path: str, config: PretrainedConfig, vision: Vision | None, dtype: torch.dtype | str
) -> PreTrainedModel:
    """Load a model's weights in main memory.

    Raises:
        PolicyError: If they cannot be read, or some are missing.
    """
    try:
        found: Any = model_class(config).from_pretrained(path, dtype=dtype, output_loading_info=True)
    except Exception as error:
        raise unloadable(path, error) from error
    model, loading = found
    if missing := sorted(loading["missing_keys"]):
        raise PolicyError(
            f"model {path!r} has no weights for {', '.join(missing[:3])}: they would be random",
            fix="give the checkpoint of a causal language model; a reward model is none",
        )
    model.eval()
    if vision is not None:
        freeze_unread(model, vision)
    return cast("PreTrainedModel", model)


def without_weights(path: str, config: PretrainedConfig, dtype: torch.dtype | str) -> PreTrainedModel:
    """Build the model of a folder or hub name; what its weights are is nobody's concern."""
    given = {} if dtype == "auto" else {"dtype": dtype}
    model = model_class(config).from_config(copy.deepcopy(config), **given)
    model.generation_config = generation_config_of(path)
    return cast("PreTrainedModel", model)


def unloadable(path: str, error: Exception) -> PolicyError:
    """Return the error of a model that cannot be loaded."""
    return PolicyError(
        f"model {path!r} cannot be loaded: {type(error).__name__}: {error}",
        fix="check the path or hub name; a truncated download has to be fetched again",
    )


def model_class(config: PretrainedConfig) -> Any:
    """Return what `transformers` makes a model of a configuration with."""
    return AutoModelForImageTextToText if reads_pictures(config) else AutoModelForCausalLM


@torch.no_grad()
def check_vision(policy: LanguageModel, vision: Vision) -> None:
    """Check that the model reads a picture as the core does: its features in the place of its tokens, and no more.

    Raises:
        PolicyError: If it does not.
    """
    picture = vision.blank
    tokens = torch.full((1, picture.tokens + 2), vision.token_id, device=policy.device)
    tokens[0, -2:] = torch.tensor([each for each in range(3) if each != vision.token_id][:2])
    pixels = picture.pixels[None].to(policy.device, policy.model.dtype)
    try:
        theirs = policy.model(input_ids=tokens, pixel_values=pixels).logits.float()
        pictures = Pictures(pixels, tokens == vision.token_id)
        ours = nn.functional.linear(
            policy.read(states_alone, tokens, None, pictures=pictures), policy.head, policy.head_bias
        )
    except Exception as error:
        raise PolicyError(
            f"{type(policy.model).__name__} cannot be shown a picture: {type(error).__name__}: {error}",
            fix="use an architecture that reads pixel_values alone, such as LLaVA 1.5",
        ) from error
    if not torch.allclose(theirs, ours.float(), atol=1e-2, rtol=1e-2):
        raise PolicyError(
            f"{type(policy.model).__name__} does more with pictures than put their features in their tokens' place",
            fix="use an architecture such as LLaVA 1.5",
        )
