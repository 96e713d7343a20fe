"""A reward model from a checkpoint, loaded so that one without a trained head, or whose padding leaks, is refused.

Shapes: ``B`` sequences, ``T`` tokens.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from collegium import Completion, Task, VerifierError
from collegium.errors import PolicyError
from collegium.model_files import check_model_folder
from collegium_verifier_judge.reward_config import RewardModelScoreConfig
from collegium_verifier_judge.reward_inputs import InputEncoder, Unreadable, Unscorable

OWNER = "collegium-verifier-judge"
TOLERANCES = {torch.float32: 1e-3, torch.float64: 1e-3}
COARSE_TOLERANCE = 0.1
"""How far padding may move a raw reward, relative to its size or 1: in low precision the order of sums matters more."""


class RewardCheckpoint:
    """A model that gives one number for a token sequence. Safe to use from several threads.

    Raises:
        VerifierError: If the folder holds no usable reward model; says why.
    """

    def __init__(self, config: RewardModelScoreConfig) -> None:
        self.config = config
        self.device = _device(config.device)
        self._lock = threading.Lock()  # tokenizers and CUDA streams are not made for several threads at once
        self.model = self._load()
        tokenizer = AutoTokenizer.from_pretrained(str(config.path))
        self._check_vocabulary(len(tokenizer))
        if config.layout == "chat" and not tokenizer.chat_template:
            raise _refusal(config, "its tokenizer has no chat template", "use layout: prompt-completion")
        self.encoder = InputEncoder(tokenizer, config.layout, self._longest())
        self._check_padding()

    def encode(self, completion: Completion, task: Task) -> list[int] | Unscorable | Unreadable:
        """Return what the model reads of an item, or why it cannot."""
        with self._lock:
            return self.encoder.encode(completion, task)

    def rewards(self, sequences: Sequence[Sequence[int]]) -> list[float]:
        """Return the raw reward of each sequence; not a number where the model gives none.

        Sequences are batched by length and content, whatever their order, so a shuffled batch gets the same numbers.
        """
        order = sorted(range(len(sequences)), key=lambda row: (len(sequences[row]), list(sequences[row])))
        step = self.config.micro_batch if self.model.config.pad_token_id is not None else 1
        found = [0.0] * len(sequences)
        with self._lock:
            for start in range(0, len(order), step):
                rows = order[start : start + step]
                rewards = self._forward([sequences[row] for row in rows]).tolist()
                for row, reward in zip(rows, rewards, strict=True):
                    found[row] = reward
        return found

    @torch.inference_mode()
    def _forward(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Return rewards ``[B]`` float64 of sequences padded on the right."""
        width = max(len(sequence) for sequence in sequences)
        padding = self.model.config.pad_token_id or 0
        tokens = torch.full((len(sequences), width), padding, dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for row, sequence in enumerate(sequences):
            tokens[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.long)
            mask[row, : len(sequence)] = 1
        logits: Tensor = self.model(input_ids=tokens.to(self.device), attention_mask=mask.to(self.device)).logits
        return logits[:, 0].double().cpu()

    def _load(self) -> PreTrainedModel:
        config = self.config
        try:
            check_model_folder(config.path)
            model, info = AutoModelForSequenceClassification.from_pretrained(
                str(config.path), dtype=config.dtype, output_loading_info=True, local_files_only=True
            )
        except PolicyError as error:
            raise _refusal(config, error.problems[0].what, error.problems[0].fix) from error
        except Exception as error:
            raise _refusal(config, f"{type(error).__name__}: {error}", "check the folder's files") from error
        untrained = sorted({*map(str, info["missing_keys"]), *map(str, info["mismatched_keys"])})
        if untrained:
            raise _refusal(
                config,
                f"it lacks the weights {', '.join(untrained[:5])}, which would be random",
                "give a checkpoint whose reward head was trained, not a language model's",
            )
        if model.config.num_labels != 1:
            raise _refusal(config, f"it has {model.config.num_labels} labels, expected 1", "give a reward model")
        model.eval()
        return model.to(self.device)  # type: ignore[no-any-return]  # transformers

    def _longest(self) -> int:
        limit = getattr(self.model.config, "max_position_embeddings", None)
        asked = self.config.max_length
        if asked is None and not isinstance(limit, int):
            raise _refusal(self.config, "its configuration does not say how many tokens it reads", "set max_length")
        if asked is not None and isinstance(limit, int) and asked > limit:
            raise _refusal(self.config, f"it reads at most {limit} tokens, max_length is {asked}", "lower max_length")
        return int(asked if asked is not None else limit)  # type: ignore[arg-type]  # one of them is a number

    def _check_vocabulary(self, size: int) -> None:
        rows = self._embedded()
        if size > rows:
            raise _refusal(self.config, f"its tokenizer has {size} tokens, its embedding {rows}", "match the two")

    def _embedded(self) -> int:
        return int(self.model.get_input_embeddings().num_embeddings)  # type: ignore[arg-type]  # an embedding layer

    def _check_padding(self) -> None:
        """Check that a sequence's reward is the same alone and padded beside a longer one."""
        padding = self.model.config.pad_token_id
        if padding is None or self.config.micro_batch == 1:
            return
        rows = self._embedded()
        tokens = [token for token in range(min(rows, 16)) if token != padding]
        short, long = tokens[:3], (tokens * 2)[:12]
        alone, padded = float(self._forward([short])[0]), float(self._forward([short, long])[0])
        tolerance = TOLERANCES.get(self.model.dtype, COARSE_TOLERANCE)
        if not abs(alone - padded) <= tolerance * max(1.0, abs(alone)):
            raise _refusal(
                self.config,
                f"padding changes its reward: {alone:g} alone, {padded:g} in a batch",
                "set micro_batch: 1, or mend pad_token_id",
            )


def _device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _refusal(config: RewardModelScoreConfig, what: str, fix: str) -> VerifierError:
    return VerifierError(f"{str(config.path)!r} is no usable reward model: {what}", fix=fix, owner=OWNER)
