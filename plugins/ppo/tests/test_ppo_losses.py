"""The losses of policy and value function: by hand, against TRL's numbers, and their gradients."""

from __future__ import annotations

import pytest
import torch

from collegium.errors import PluginError
from collegium.training.streams import TokenStreams
from collegium_ppo.losses import PolicyLoss, PolicyLossConfig, entropy_with_gradient, value_loss

# As in test_ppo_estimation: the log-probs, their successors, and TRL's advantages of them; TRL's loss is the mean.
OLD = [[-0.5, -1.2, -0.3, -2.0], [-0.1, -0.7, -1.5, -0.4], [-2.2, -0.6, -0.9, -1.1]]
NEW = [[-0.4, -1.6, -0.3, -1.5], [-0.2, -0.7, -1.0, -0.4], [-2.5, -0.5, -0.9, -1.6]]
ADVANTAGES = [
    [0.0940466, -0.0931282, 0.8469749, -0.0782224],
    [-1.6292117, -0.9941499, -1.0814055, -0.7871857],
    [1.3151745, 0.3258868, 0.3981124, 1.6831086],
]
TRL_POLICY_LOSS = 0.1281304508447647


def policy_loss(entropy: float = 0.0) -> PolicyLoss:
    return PolicyLoss(PolicyLossConfig(clip=0.2, entropy_coefficient=entropy))


def streams(current: list[list[float]], old: list[list[float]], advantage: list[list[float]]) -> TokenStreams:
    now = torch.tensor(current, requires_grad=True)
    return TokenStreams(
        torch.ones(now.shape, dtype=torch.bool), now, torch.tensor(old), advantage=torch.tensor(advantage)
    )


def test_the_policy_loss_is_that_of_trl():
    assert policy_loss().per_token(streams(NEW, OLD, ADVANTAGES)).loss.mean().item() == pytest.approx(
        TRL_POLICY_LOSS, rel=1e-5
    )


def test_a_ratio_beyond_the_clip_has_no_gradient_and_is_counted():
    #                       up, good   up, bad  down, good  down, bad   unmoved
    given = streams([[0.5, 0.5, -0.5, -0.5, 0.0]], [[0.0] * 5], [[1.0, -1.0, 1.0, -1.0, 2.0]])
    output = policy_loss().per_token(given)
    (gradient,) = torch.autograd.grad(output.loss.sum(), given.current)
    assert (gradient != 0).tolist() == [[False, True, True, False, True]]
    assert output.stats["clip_fraction"].tolist() == [[1.0, 0.0, 0.0, 1.0, 0.0]]
    assert gradient[0, 4].item() == -2.0
    assert output.stats["approx_kl"][0].tolist() == pytest.approx(
        [0.1487213, 0.1487213, 0.1065307, 0.1065307, 0], abs=1e-6
    )


def test_the_entropy_bonus_raises_the_entropy():
    hidden = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    head = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    given = streams([[-1.0, -1.0], [-1.0, -1.0]], [[-1.0, -1.0], [-1.0, -1.0]], [[0.0, 0.0], [0.0, 0.0]])
    given.mask = torch.tensor([[True, True], [False, True]])
    given.hidden, given.head = hidden, head
    loss = policy_loss(0.1).per_token(given).loss
    before = entropy_with_gradient(hidden, head)
    torch.testing.assert_close(loss[given.mask], -0.1 * before)
    (gradient,) = torch.autograd.grad(loss.sum(), hidden)
    assert (entropy_with_gradient(hidden - gradient, head) > before).all()


def test_the_entropys_gradient_is_that_of_the_plain_softmax():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    head = torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    logprobs = (hidden @ head.T).log_softmax(-1)
    plain = -(logprobs.exp() * logprobs).sum(-1)
    torch.testing.assert_close(entropy_with_gradient(hidden, head), plain)
    for one, other in zip(
        torch.autograd.grad(entropy_with_gradient(hidden, head).sum(), (hidden, head)),
        torch.autograd.grad(plain.sum(), (hidden, head)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_the_loss_says_what_it_reads():
    assert policy_loss().needs == {"current", "old", "advantage"}
    assert policy_loss(0.1).needs == {"current", "old", "advantage", "hidden"}
    with pytest.raises(PluginError, match="stage ppo reads the stream 'advantage'"):
        policy_loss().per_token(TokenStreams(torch.ones(1, 1), torch.zeros(1, 1), torch.zeros(1, 1)))


def test_the_value_loss_by_hand():
    values = torch.tensor([1.0, 1.0, 0.6], requires_grad=True)
    old, returns = torch.tensor([0.5, 0.5, 0.5]), torch.tensor([2.0, 0.0, 2.0])
    # Towards the return and too far: the clipped error, 1.3, is larger. Away from it, or within the clip: the own one.
    loss, clipped = value_loss(values, old, returns, clip=0.2)
    torch.testing.assert_close(loss, torch.tensor([1.3**2 / 2, 0.5, 1.4**2 / 2]))
    assert clipped.tolist() == [1.0, 0.0, 0.0]
    (gradient,) = torch.autograd.grad(loss.sum(), values)
    torch.testing.assert_close(gradient, torch.tensor([0.0, 1.0, -1.4]))


def test_the_value_loss_without_a_clip_is_half_the_squared_error():
    loss, clipped = value_loss(torch.tensor([1.0]), torch.tensor([-9.0]), torch.tensor([4.0]), clip=None)
    assert (loss.tolist(), clipped.tolist()) == ([4.5], [0.0])
