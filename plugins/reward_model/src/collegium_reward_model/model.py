"""The reward model: a transformer whose head writes one number on the last token of a completion.

The checkpoint is one of `transformers`' sequence classification with one label, and its `from_pretrained` gives the
same number: the last token is the last that is not padding, so end of sequence is added only where it is not also the
padding token.

Shapes: ``B`` sequences, ``T`` tokens, ``D`` width.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
from torch import Tensor

from collegium import DataError, PolicyError
from collegium.training.layers import decoder_layers
from collegium.training.scalar_head import ScalarHeadModel
from collegium.training.tokenizers import Prompt, encode_completion, encode_prompt, padding
from collegium_reward_model.configs import OWNER

STATISTICS_FILE = "reward_model.json"


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


class RewardModel(ScalarHeadModel):
    """A transformer body with a scalar head, and its tokenizer; `statistics` is there once it is trained."""

    statistics: Statistics | None = None

    @classmethod
    def start(cls, path: str, device: str | torch.device, seed: int) -> RewardModel:
        """Take a language model's body and give it a new head; a reward model keeps its own.

        Raises:
            PolicyError: If the checkpoint is neither.
        """
        return cls.from_checkpoint(path, device, head="either", seed=seed)

    @classmethod
    def load(
        cls, path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | str = torch.float32
    ) -> RewardModel:
        """Load a trained reward model, whole: one rank alone scores with it.

        Raises:
            PolicyError: If the checkpoint has no trained scalar head, such as a language model's.
        """
        loaded = cls.from_checkpoint(path, device, dtype)
        loaded.make_whole()
        loaded.model.requires_grad_(requires_grad=False)
        file = Path(path) / STATISTICS_FILE
        if file.is_file():
            loaded.statistics = Statistics(**json.loads(file.read_text(encoding="utf-8")))
        return loaded

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        where = super().device
        return self.head.device if where.type == "meta" and self.waiting is None else where

    def offload(self, device: str | torch.device) -> RewardModel:
        """Keep embeddings and layers in main memory; each goes to the device while it runs. Return the same model."""
        self.to("cpu")
        embeddings: Any = self.model.get_input_embeddings()
        for part in (embeddings, *decoder_layers(self.model)):
            add_hook_to_module(part, AlignDevicesHook(torch.device(device), offload=True, place_submodules=True))
        # The hooks have these weights, and left them on the device `meta`: what is not there stays on the device.
        move: Any = self.model._apply
        move(lambda tensor: tensor if tensor.is_meta else tensor.to(device))
        return self

    @classmethod
    def unusable(cls, path: str, found: str) -> PolicyError:
        """Return the error of a checkpoint that is no reward model."""
        return PolicyError(
            f"{path!r} is no checkpoint with a trained scalar head: it {found}",
            fix="give the artifact of a reward-model stage, or a sequence classification checkpoint with one label",
            owner=OWNER,
        )

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
