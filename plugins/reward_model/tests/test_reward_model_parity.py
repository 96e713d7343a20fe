"""The losses against TRL's on the same rewards, where TRL is installed."""

from __future__ import annotations

import importlib.metadata
from types import SimpleNamespace

import pytest
import torch

from collegium_reward_model.losses import centering_loss, ranking_loss

pytestmark = pytest.mark.engines

PAIR = torch.tensor([[0, 1]])
REWARDS = torch.tensor([[1.2, 0.3], [-0.5, 0.1], [2.0, -2.0]], dtype=torch.float64)  # chosen and rejected
MARGINS = torch.tensor([3.0, 1.0, 0.0], dtype=torch.float64)


@pytest.fixture(scope="module")
def compute_loss():
    """TRL's own method, on a trainer that is only what the method reads."""
    try:
        importlib.metadata.version("trl")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("trl is not installed")
    from trl import RewardTrainer

    def loss(centering: float | None, margins: torch.Tensor | None) -> torch.Tensor:
        same = SimpleNamespace(gather=lambda each: each, gather_for_metrics=lambda each: each)
        names = ("min_reward", "mean_reward", "max_reward", "accuracy", "margin")
        trainer = SimpleNamespace(
            model=SimpleNamespace(training=False), accelerator=same, _total_train_tokens=0, _tp_size=1,
            args=SimpleNamespace(center_rewards_coefficient=centering),
            _metrics={"eval": {name: [] for name in names}},
        )  # fmt: skip
        outputs = SimpleNamespace(logits=REWARDS.T.reshape(-1, 1))  # the chosen ones first
        inputs = {} if margins is None else {"margin": margins}
        return RewardTrainer.compute_loss(trainer, lambda **_: outputs, inputs)

    return loss


@pytest.mark.parametrize("centering", [None, 0.01])
@pytest.mark.parametrize("margins", [None, MARGINS], ids=["ranking", "margin"])
def test_the_loss_of_pairs_is_trls(compute_loss, centering, margins):
    each = MARGINS if margins is not None else torch.zeros(3, dtype=torch.float64)
    losses = [
        ranking_loss(rewards, PAIR, margin) + (centering or 0.0) * centering_loss(rewards, PAIR)
        for rewards, margin in zip(REWARDS, each, strict=True)
    ]
    torch.testing.assert_close(torch.stack(losses).mean(), compute_loss(centering, margins))
