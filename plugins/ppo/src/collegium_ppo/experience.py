"""From a batch of rollouts to what the update reads: log-probs, values, rewards of tokens, advantages and returns.

Shapes: ``B`` sequences, ``T`` tokens.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from collegium.training import divergence
from collegium.training.batch import RolloutBatch
from collegium.training.language_model import LanguageModel
from collegium.training.reference import Reference
from collegium.training.scoring import check_handshake, score
from collegium_ppo.config import PpoConfig
from collegium_ppo.estimation import explained_variance, final_scores, gae, token_rewards, whiten
from collegium_ppo.kl_controller import KlController
from collegium_ppo.value_model import ValueModel, score_values


@dataclass(frozen=True, slots=True)
class ValueTargets:
    """What the value function learns from a batch.

    Args:
        old: ``[B, T]`` values at the rollouts' weights.
        returns: ``[B, T]`` what they should have been.
    """

    old: Tensor
    returns: Tensor

    def select(self, rows: list[int], width: int) -> ValueTargets:
        """Return the given rows, cut to a width as `RolloutBatch.select` cuts them."""
        return ValueTargets(self.old[rows, :width], self.returns[rows, :width])

    def to(self, device: torch.device | str) -> ValueTargets:
        """Return them on a device."""
        return ValueTargets(self.old.to(device), self.returns.to(device))


class Experience:
    """Fill a batch in.

    Args:
        policy: At the weights that sampled.
        value: The value function.
        reference: What the KL penalty refers to; None for no penalty.
        controller: Has the penalty's coefficient, and learns of the batch's KL.
        config: The stage's options.
    """

    def __init__(
        self,
        policy: LanguageModel,
        value: ValueModel,
        reference: Reference | None,
        controller: KlController,
        config: PpoConfig,
    ) -> None:
        self.policy = policy
        self.value = value
        self.reference = reference
        self.controller = controller
        self.config = config
        self._shook_hands = False

    def __call__(self, batch: RolloutBatch) -> tuple[ValueTargets, dict[str, float]]:
        """Fill `old`, `reference` and `advantage` of the batch in; return what the values should be, and metrics.

        Raises:
            EngineError: If engine and trainer disagree on the stage's first batch.
        """
        started = time.perf_counter()
        values = self._score(batch)
        metrics = {"time/score": time.perf_counter() - started}
        counted = batch.completion_mask & has_reward(batch).bool()[:, None]
        rewards, parts = self._rewards(batch, counted)
        advantages, returns = gae(rewards, values, counted, self.config.gamma, self.config.gae_lambda)
        batch.advantage = whiten(advantages, counted) if self.config.whiten_advantages else advantages
        metrics |= parts | _spread("advantage", advantages[counted]) | _spread("return", returns[counted])
        metrics |= {
            "value/mean": float(values[counted].mean()),
            "value/explained_variance": explained_variance(values, returns, counted),
        }
        return ValueTargets(values, returns), metrics

    def _score(self, batch: RolloutBatch) -> Tensor:
        """Fill the log-probs in and return the values, ``[B, T]``."""
        size = self.config.micro_batch
        if not self._shook_hands:
            check_handshake(self.policy, batch, self.config.handshake, self.config.micro_batch)
            self._shook_hands = True
        batch.old = score(self.policy, batch, size)
        if self.reference is not None:
            batch.reference = score(self.reference.model, batch, size)
        return score_values(self.value, batch, size)

    def _rewards(self, batch: RolloutBatch, counted: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Return each counted token's reward, ``[B, T]``, and what it is made of as metrics."""
        config, coefficient = self.config, self.controller.coefficient
        scores = final_scores(batch.rewards, batch.truncated, config.score_scale, config.missing_eos)
        kl, penalty = self._kl(batch)
        rewards = token_rewards(scores.nan_to_num(nan=0.0), penalty, counted, coefficient)
        judged = ~scores.isnan()
        metrics = {"score": float(scores[judged].mean())}
        if config.missing_eos is not None:
            metrics["missing_eos"] = float(batch.truncated[judged].float().mean())
        if self.reference is not None:
            of_completion = torch.where(counted, kl, 0.0).sum(dim=1)[judged]
            metrics |= {
                "kl": float(of_completion.mean()),
                "kl/per_token": float(kl[counted].mean()),
                "kl/coefficient": coefficient,
                "kl/penalty": -coefficient * float(torch.where(counted, penalty, 0.0).sum(dim=1)[judged].mean()),
            }
            self.controller.observe(metrics["kl"])
        return (whiten(rewards, counted, shift_mean=False) if config.whiten_rewards else rewards), metrics

    def _kl(self, batch: RolloutBatch) -> tuple[Tensor, Tensor]:
        """Return ``log p - log q`` of each token and the estimate that is penalised, ``[B, T]`` each."""
        if batch.old is None or batch.reference is None:
            nothing = torch.zeros(batch.token_ids.shape)
            return nothing, nothing
        log_ratio = divergence.k1(batch.old, batch.reference)
        return log_ratio, log_ratio if self.config.kl_estimator == "k1" else divergence.k3(batch.old, batch.reference)


def has_reward(batch: RolloutBatch) -> Tensor:
    """Return 1 for rows with a reward, 0 for those whose verifier abstained or failed (they count nowhere), ``[B]``."""
    return (~batch.rewards.isnan()).float()


def _spread(name: str, values: Tensor) -> dict[str, float]:
    return {f"{name}/mean": float(values.mean()), f"{name}/std": float(values.std(correction=0))}
