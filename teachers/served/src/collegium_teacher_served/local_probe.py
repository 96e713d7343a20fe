"""A few sequences that a local checkpoint writes itself, and its own log-probs of them.

Shapes: ``B`` sequences, ``T`` tokens, ``V`` vocabulary.

Since the tokens are drawn from the local model, the mean of (local - served) estimates KL(local || served); the mean
absolute difference bounds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from collegium import PolicyError, TeacherError
from collegium.training.language_model import LanguageModel
from collegium.training.logprobs import token_logprobs
from collegium_teacher_served.failures import OWNER
from collegium_teacher_served.sequences import TokenSequence

SEQUENCES = 8
LENGTH = 32
SEED = 0


@dataclass(frozen=True)
class LocalProbe:
    """Sequences and the local model's log-probs from position 1 on."""

    sequences: list[TokenSequence]
    logprobs: list[list[float]]

    def compare(self, served: Sequence[Sequence[float]], tolerance: float, checkpoint: str) -> None:
        """Compare with what the server says.

        Raises:
            TeacherError: If the mean absolute difference is above the tolerance; shows it, and the estimated KL.
        """
        local, there = torch.tensor(self.logprobs).flatten(), torch.tensor(served).flatten()
        gaps = local - there
        mean = float(gaps.abs().mean())
        if not mean <= tolerance:
            raise TeacherError(
                f"the server does not serve checkpoint {checkpoint!r}: log-probs of {len(gaps)} tokens that the "
                f"checkpoint wrote differ by {mean:.4g} nats on average (largest {float(gaps.abs().max()):.4g}, "
                f"estimated KL of local to served {float(gaps.mean()):.4g}); at most {tolerance:g} is allowed",
                fix="serve these weights, or name the right checkpoint; lower precision needs more tolerance",
                owner=OWNER,
            )


def local_probe(checkpoint: str, ids: Sequence[int]) -> LocalProbe:
    """Load a checkpoint, let it write, and score that; the weights are freed again.

    Args:
        checkpoint: Folder or hub name.
        ids: The tokenizer's ids; no others are drawn.

    Raises:
        TeacherError: If it is not a checkpoint.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        model = LanguageModel.load(checkpoint, device, dtype="auto")
    except PolicyError as error:
        problem = error.problems[0]
        raise TeacherError(
            f"the checkpoint of a served teacher cannot be used: {problem.what}", fix=problem.fix, owner=OWNER
        ) from error
    tokens = _write(model, ids, min(LENGTH, (model.context_length or LENGTH + 1) - 1))
    logprobs = _score(model, tokens).tolist()
    return LocalProbe([TokenSequence(tuple(row), 1) for row in tokens.tolist()], logprobs)


@torch.no_grad()
def _write(model: LanguageModel, ids: Sequence[int], length: int) -> Tensor:
    """Return ``[B, T]`` tokens: different first ones, the others from the model; always the same ones."""
    generator = torch.Generator().manual_seed(SEED)
    known = torch.tensor(sorted(ids))
    tokens = known[torch.randperm(len(known), generator=generator)[:SEQUENCES, None]]
    for _ in range(length - 1):
        states = model.hidden_states(tokens.to(model.device), None)[:, -1]
        logits_BV = torch.nn.functional.linear(states, model.head, model.head_bias).float().cpu()
        drawn = torch.multinomial(logits_BV[:, known].softmax(dim=-1), 1, generator=generator)
        tokens = torch.cat([tokens, known[drawn]], dim=1)
    return tokens


@torch.no_grad()
def _score(model: LanguageModel, tokens: Tensor) -> Tensor:
    """Return the log-probs of all tokens but the first, ``[B, T - 1]``."""
    tokens = tokens.to(model.device)
    states = model.hidden_states(tokens, None)[:, :-1].flatten(0, 1)
    scored = token_logprobs(states, model.head, tokens[:, 1:].flatten(), bias=model.head_bias)[0]
    return scored.view(len(tokens), -1).cpu()
