"""The reward model: a transformer whose head writes one number on the last token of a completion.

The checkpoint is one of `transformers`' sequence classification with one label, and its `from_pretrained` gives the
same number: the last token is the last that is not padding, so end of sequence is added only where it is not also the
padding token.

Shapes: ``B`` sequences, ``T`` tokens, ``D`` width.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from collegium import DataError, PolicyError
from collegium.model_files import check_model_folder, is_local
from collegium.training.language_model import LanguageModel
from collegium.training.tokenizers import Prompt, encode_completion, encode_prompt, padding
from collegium_reward_model.configs import OWNER

STATISTICS_FILE = "reward_model.json"
HEAD = "score.weight"


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the stage found on the held-out prompts, kept beside the weights.

    Args:
        mean: Of the rewards of the held-out completions.
        std: Their standard deviation.
        accuracy: Share of the held-out pairs told apart rightly.
        length_accuracy: The same by length alone, in the direction that fits the training pairs best.
        pairs: Held-out pairs.
    """

    mean: float
    std: float
    accuracy: float
    length_accuracy: float
    pairs: int


class RewardModel(LanguageModel):
    """A transformer body with a scalar head, and its tokenizer; `statistics` is there once it is trained."""

    statistics: Statistics | None = None

    @classmethod
    def start(cls, path: str, device: str | torch.device, seed: int) -> RewardModel:
        """Take a language model's body and give it a new head; a reward model keeps its own.

        The head's weights are normal with variance ``1 / (D + 1)`` (arXiv 2009.01325).

        Raises:
            PolicyError: If the checkpoint is neither.
        """
        loaded, missing = _load(path)
        if missing - {HEAD}:
            raise _no_reward_model(path, f"it lacks the weights {', '.join(sorted(missing - {HEAD})[:5])}")
        if missing:
            weight = loaded.head
            generator = torch.Generator().manual_seed(seed)
            with torch.no_grad():
                weight.copy_(torch.randn(weight.shape, generator=generator) / (weight.shape[1] + 1) ** 0.5)
        return loaded._on(device)

    @classmethod
    def load(
        cls, path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | str = torch.float32
    ) -> RewardModel:
        """Load a trained reward model.

        Raises:
            PolicyError: If the checkpoint has no trained scalar head, such as a language model's.
        """
        loaded, missing = _load(str(path), dtype)
        if missing:
            raise _no_reward_model(str(path), f"it lacks the weights {', '.join(sorted(missing)[:5])}")
        loaded.model.requires_grad_(requires_grad=False)
        file = Path(path) / STATISTICS_FILE
        if file.is_file():
            loaded.statistics = Statistics(**json.loads(file.read_text(encoding="utf-8")))
        return loaded._on(device)

    def _on(self, device: str | torch.device) -> RewardModel:
        self.to(device)
        return self

    @property
    def head(self) -> Tensor:
        """The scalar head's weight, ``[1, D]``."""
        weight: Tensor = self.model.get_parameter(HEAD)
        return weight

    @property
    def head_bias(self) -> None:
        """None: the head has no bias, as rewards matter up to a constant."""
        return

    def encode(self, prompt: Prompt, completion: str, name: str, *, ended: bool = True) -> list[int]:
        """Return the tokens of a prompt and its completion; the reward is read on the last one.

        Args:
            prompt: Text or chat messages.
            completion: Text.
            name: What errors call it.
            ended: Whether the completion came to its end, which end of sequence then marks.

        Raises:
            DataError: If it is empty, longer than the model's context, or cannot be encoded: nothing is cut.
        """
        ids = encode_completion(self.tokenizer, completion)
        if not ended or ids[-1] == padding(self.tokenizer):
            ids = ids[:-1]
        ids = [*encode_prompt(self.tokenizer, prompt), *ids]
        most = self.context_length
        if not ids:
            raise DataError(f"{name}: prompt and completion are empty", fix="leave it out", owner=OWNER)
        if most is not None and len(ids) > most:
            raise DataError(
                f"{name}: prompt and completion are {len(ids)} tokens, the reward model reads at most {most}",
                fix="leave it out, or use a reward model with a longer context: nothing is cut",
                owner=OWNER,
            )
        return ids

    def rewards(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Return each sequence's reward, ``[B]`` float32, with its gradient if there is one."""
        longest, fill = max(map(len, sequences)), padding(self.tokenizer)
        tokens = torch.tensor([[*each, *[fill] * (longest - len(each))] for each in sequences], device=self.device)
        lengths = torch.tensor([len(each) for each in sequences], device=self.device)
        mask = (torch.arange(longest, device=self.device) < lengths[:, None]).long()
        rows = torch.arange(len(sequences), device=self.device)

        def reward(hidden: Tensor, head: Tensor, _: Tensor | None) -> Tensor:
            return (hidden[rows, lengths - 1].to(head.dtype) @ head.T)[:, 0].float()

        return self.read(reward, tokens, mask)

    @torch.no_grad()
    def score(self, sequences: Sequence[Sequence[int]], micro_batch: int) -> Tensor:
        """Return each sequence's reward, ``[B]`` in main memory, without gradients or dropout."""
        training = self.model.training
        self.model.eval()  # type: ignore[no-untyped-call]  # transformers
        order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))  # less padding
        rewards = torch.empty(len(sequences))
        try:
            for start in range(0, len(order), micro_batch):
                rows = order[start : start + micro_batch]
                rewards[rows] = self.rewards([sequences[row] for row in rows]).cpu()
        finally:
            self.model.train(training)
        return rewards

    def save(self, path: str | Path, weights: dict[str, Tensor] | None = None) -> None:
        """Write model, tokenizer and statistics to a folder that `load` and `from_pretrained` read."""
        super().save(path, weights)
        if self.statistics is not None:
            text = json.dumps(asdict(self.statistics), indent=1) + "\n"
            (Path(path) / STATISTICS_FILE).write_text(text, encoding="utf-8")


def _load(path: str, dtype: torch.dtype | str = torch.float32) -> tuple[RewardModel, set[str]]:
    """Return the model, in evaluation mode, and the names of the weights that the checkpoint does not have."""
    if is_local(path):
        check_model_folder(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        with _without_report():
            model, found = AutoModelForSequenceClassification.from_pretrained(
                path, num_labels=1, dtype=dtype, pad_token_id=padding(tokenizer), output_loading_info=True
            )
    except Exception as error:
        raise _no_reward_model(path, f"{type(error).__name__}: {error}") from error
    if HEAD not in dict(model.named_parameters()) or "score.bias" in dict(model.named_parameters()):
        raise _no_reward_model(path, f"{type(model).__name__} has no plain linear head named score")
    model.eval()
    return RewardModel(model, tokenizer), set(found["missing_keys"])


@contextmanager
def _without_report() -> Iterator[None]:
    """Keep `transformers` from warning of the new head: it is asked for, or it is an error here."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # transformers
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def _no_reward_model(path: str, found: str) -> PolicyError:
    return PolicyError(
        f"{path!r} is no checkpoint with a trained scalar head: {found}",
        fix="give the artifact of a reward-model stage, or a sequence classification checkpoint with one label",
        owner=OWNER,
    )
