"""Options of the stage `ppo` (light: no torch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from collegium import Config, ConfigError, Use, UseReward
from collegium.kinds.stage import Edge
from collegium.training.rollout_config import RolloutConfig

OWNER = "collegium-ppo"
VERIFIERS = "collegium/domain-verifier"
"""The reward source that reads no reward model."""


class PretrainingConfig(Config):
    """PPO-ptx: the language modelling loss that is added to the policy's (InstructGPT, equation 2)."""

    text: str | None = None
    """A text file, whose documents blank lines separate; default: the texts of the stage's domains."""
    weight: float = Field(default=27.8, gt=0)
    """What the mean loss of a text token counts beside the policy's. InstructGPT: 27.8."""
    rows: int | None = Field(default=None, ge=1)
    """Texts of an optimizer step; default: 8 for each of its rollouts, as InstructGPT has it."""
    row_tokens: int = Field(default=256, ge=2)
    """Most tokens of a text; longer documents are cut into several."""

    def content_paths(self) -> Sequence[Path]:
        """Return the text file: what is in it is part of the fingerprint."""
        return (Path(self.text),) if self.text else ()


class PpoConfig(RolloutConfig):
    """Reinforcement learning with a value function."""

    accepts: ClassVar[frozenset[Edge]] = RolloutConfig.accepts | frozenset({"reference", "reward_models"})

    reward: UseReward = Use(use=VERIFIERS)
    """What scores the rollouts; the score goes to the last token."""
    prompts: int = Field(default=512, ge=1)
    """Prompts of a batch. InstructGPT and Llama 2: 512."""
    group: int = Field(default=1, ge=1)
    """Completions of each prompt; the value function, not the group, says what was to be expected."""
    minibatches: int = Field(default=8, ge=1)
    """Optimizer steps of a pass. InstructGPT and Llama 2: 8, of 64 rollouts each."""
    lr: float = Field(default=1e-6, gt=0)
    """Peak learning rate of the policy. Llama 2: 1e-6; Tulu 3: 3e-7 (8B), 1e-7 (70B)."""
    value_lr: float = Field(default=9e-6, gt=0)
    """Peak learning rate of the value function. InstructGPT: 9e-6, 5e-6 for the largest."""
    value_init: Literal["auto", "reward-model", "policy"] = "auto"
    """What the value function starts from: the first of the edge `reward_models` (InstructGPT, Tulu 3), or the policy
    with a new head; ``auto``: the former where the edge is given."""
    value_clip: float | None = Field(default=0.2, gt=0)
    """How far an update may move a value from that of the rollouts before its loss stops counting; None: any way."""
    kl_coefficient: float = Field(default=0.02, ge=0)
    """Weight of the KL penalty in each token's reward. InstructGPT: 0.02; Llama 2: 0.01, 0.005; Tulu 3: 0.05, 0.07."""
    kl_estimator: Literal["k1", "k3"] = "k1"
    """``log p - log q``, whose expectation has the right gradient; or `k3`, which is never negative."""
    kl_target: float | None = Field(default=None, gt=0)
    """KL of a completion, in nats, towards which the coefficient is moved batch by batch (arXiv 1909.08593, section
    2.2); None: the coefficient is fixed."""
    score_scale: float = Field(default=1.0, gt=0)
    """What the source's scores are multiplied with. Tulu 3's verified answers: 10."""
    missing_eos: float | None = None
    """Score of a completion cut at the token limit, in place of its own (Tulu 3: -10). Default: its own stands."""
    whiten_rewards: bool = False
    """Divide the tokens' rewards by their standard deviation over the batch; their mean stays."""
    gamma: float = Field(default=1.0, gt=0, le=1)
    """Discount of a token. InstructGPT: 1."""
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    """Decay of generalised advantage estimation (arXiv 1506.02438)."""
    whiten_advantages: bool = True
    """Give the advantages mean 0 and variance 1 over the batch's trained tokens."""
    clip: float = Field(default=0.2, gt=0, lt=1)
    """The policy's ratio is clipped to ``[1 - clip, 1 + clip]``. InstructGPT and Llama 2: 0.2."""
    entropy_coefficient: float = Field(default=0.0, ge=0)
    """Weight of the policy's entropy, at the temperature of `sampling`, which is added to what is maximised."""
    pretraining: PretrainingConfig | None = None
    """The pretraining mix (PPO-ptx); default: none."""

    def content_paths(self) -> Sequence[Path]:
        """Return the text file: what is in it is part of the fingerprint."""
        return self.pretraining.content_paths() if self.pretraining else ()

    def trains_beside(self, inputs: Mapping[Edge, Sequence[str]]) -> Sequence[str]:
        """Return where the value function comes from."""
        models = inputs.get("reward_models", ())
        return (inputs["init_from"] if self.value_init == "policy" or not models else models)[:1]

    @property
    def penalises_kl(self) -> bool:
        """Whether the reference is read."""
        return self.kl_coefficient > 0

    @model_validator(mode="after")
    def _coefficient_can_move(self) -> PpoConfig:
        if self.kl_target is not None and not self.penalises_kl:
            raise ConfigError(
                f"kl_target {self.kl_target:g} multiplies kl_coefficient, which is 0 and would stay 0",
                fix="give kl_coefficient a number to start with, such as 0.02, or leave kl_target out",
                owner=OWNER,
            )
        return self

    @model_validator(mode="after")
    def _rollouts_are_the_policys_own(self) -> PpoConfig:
        if self.staleness:
            raise ConfigError(
                f"staleness {self.staleness} lets older weights sample, and ppo corrects nothing for that",
                fix="leave staleness out",
                owner=OWNER,
            )
        return self

    @model_validator(mode="after")
    def _entropy_is_of_the_whole_distribution(self) -> PpoConfig:
        if self.entropy_coefficient and self.sampling.keep_mask:
            raise ConfigError(
                "sampling has keep_mask, and the entropy bonus is of the whole distribution",
                fix="set entropy_coefficient: 0, or sample with top_p: 1 and without keep_mask",
                owner=OWNER,
            )
        return self

    @model_validator(mode="after")
    def _every_minibatch_has_rollouts(self) -> PpoConfig:
        if self.minibatches > self.prompts * self.group:
            raise ConfigError(
                f"minibatches {self.minibatches} is more than the batch's {self.prompts * self.group} rollouts",
                fix="use fewer minibatches, or more prompts",
                owner=OWNER,
            )
        return self
