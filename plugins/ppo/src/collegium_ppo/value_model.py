"""The value model: a transformer body with a scalar head, read before every token that the policy wrote.

Its checkpoint form is that of `transformers`' sequence classification with one label, which is a reward model's as
well: what a reward model says of a text is, to begin with, the value of having written it (InstructGPT, Tulu 3).

Shapes: ``B`` sequences, ``T`` tokens, ``N`` trained tokens in row-major mask order, ``D`` width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from collegium import PolicyError
from collegium.training.batch import RolloutBatch, deal
from collegium.training.distributed import world
from collegium.training.logprobs import scatter_to_tokens
from collegium.training.scalar_head import ScalarHeadModel
from collegium_ppo.config import OWNER


class ValueModel(ScalarHeadModel):
    """A transformer body with a scalar head, and its tokenizer."""

    @classmethod
    def from_reward_model(cls, path: str, device: str | torch.device) -> ValueModel:
        """Take a reward model's body and head.

        Raises:
            PolicyError: If the checkpoint has no trained scalar head.
        """
        return cls.from_checkpoint(path, device)

    @classmethod
    def from_policy(cls, path: str, device: str | torch.device, seed: int) -> ValueModel:
        """Take a language model's body and give it a new head.

        Raises:
            PolicyError: If the checkpoint is none of a language model.
        """
        return cls.from_checkpoint(path, device, head="new", seed=seed)

    @classmethod
    def unusable(cls, path: str, found: str) -> PolicyError:
        """Return the error of a checkpoint from which no value function can start."""
        return PolicyError(
            f"the value function cannot start from {path!r}: it {found}",
            fix="give reward_models: the artifact of a reward-model stage, or set value_init: policy",
            owner=OWNER,
        )

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
