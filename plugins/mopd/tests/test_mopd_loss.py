"""The distillation losses: invariants a, b, c, d and the parts of h that are this plugin's own."""

import math

import pytest
import torch

from collegium import PluginError
from collegium.training.logprobs import scatter_to_tokens, token_logprobs
from collegium.training.streams import TokenStreams
from collegium_mopd.advantage import Distill, distill
from collegium_mopd.loss import ReverseKl, SampledToken, TopK

B, T, V, D = 3, 5, 9, 4
MASK = torch.tensor([[0, 1, 1, 1, 1], [0, 1, 0, 1, 0], [0, 0, 1, 0, 0]], dtype=torch.bool)
N = int(MASK.sum())


def model(seed, dtype=torch.float64):
    make = torch.Generator().manual_seed(seed)
    return torch.randn(N, D, generator=make, dtype=dtype), torch.randn(V, D, generator=make, dtype=dtype)


def tokens(seed=0):
    return torch.randint(V, (B, T), generator=torch.Generator().manual_seed(seed))


def streams_of(student, teacher, token_ids):
    """Make every stream that the losses read from a student's and a teacher's states."""
    hidden, head = student[0].clone().requires_grad_(), student[1].clone().requires_grad_()
    targets = token_ids[MASK]
    current = scatter_to_tokens(token_logprobs(hidden, head, targets)[0], MASK)
    teacher_stream = scatter_to_tokens(token_logprobs(*teacher, targets)[0], MASK)
    old = current.detach()
    return TokenStreams(
        mask=MASK,
        current=current,
        old=old,
        behaviour=old,
        teacher=teacher_stream,
        advantage=distill(teacher_stream, old, MASK, coefficient=1.0, clip=1e9),
        hidden=hidden,
        head=head,
        teacher_hidden=teacher[0],
        teacher_head=teacher[1],
        token_ids=token_ids,
    )


def gradients(loss, streams):
    total = loss.per_token(streams).loss[streams.mask].sum()
    return torch.autograd.grad(total, (streams.hidden, streams.head), retain_graph=True)


LOSSES = [SampledToken(), ReverseKl(), TopK({"k": 4}), ReverseKl({"chunk": 2}), TopK({"k": V, "chunk": 3})]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_teacher_equal_to_the_student_gives_no_advantage_and_no_gradient(loss, dtype):
    streams = streams_of(model(1, dtype), model(1, dtype), tokens())
    assert not streams.advantage.any()
    assert not any(gradient.any() for gradient in gradients(loss, streams))


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_another_teacher_gives_a_gradient(loss):
    assert all(gradient.any() for gradient in gradients(loss, streams_of(model(1), model(2), tokens())))


def test_the_sampled_gradient_averaged_over_the_vocabulary_is_that_of_the_exact_reverse_kl():
    student, teacher = model(1), model(2)
    probabilities = (student[0] @ student[1].T).softmax(-1)
    average = [torch.zeros_like(part) for part in student]
    for token in range(V):
        streams = streams_of(student, teacher, torch.full((B, T), token))
        per_token = SampledToken().per_token(streams).loss[MASK]
        parts = torch.autograd.grad((probabilities[:, token] * per_token).sum(), (streams.hidden, streams.head))
        average = [total + part for total, part in zip(average, parts, strict=True)]
    hidden, head = (part.clone().requires_grad_() for part in student)
    log_p = (hidden @ head.T).log_softmax(-1)
    log_q = (teacher[0] @ teacher[1].T).log_softmax(-1)
    exact = torch.autograd.grad((log_p.exp() * (log_p - log_q)).sum(), (hidden, head))
    for ours, theirs in zip(average, exact, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_reverse_kl_is_the_full_sum_at_the_trained_tokens():
    student, teacher = model(1), model(2)
    output = ReverseKl().per_token(streams_of(student, teacher, tokens()))
    log_p = (student[0] @ student[1].T).log_softmax(-1)
    log_q = (teacher[0] @ teacher[1].T).log_softmax(-1)
    torch.testing.assert_close(output.loss[MASK], (log_p.exp() * (log_p - log_q)).sum(-1))
    torch.testing.assert_close(output.stats["entropy"][MASK], -(log_p.exp() * log_p).sum(-1))
    assert not output.loss[~MASK].any()


def test_top_k_over_the_whole_vocabulary_is_the_reverse_kl():
    streams = streams_of(model(1), model(2), tokens())
    full, top = ReverseKl(), TopK({"k": V})
    torch.testing.assert_close(top.per_token(streams).loss, full.per_token(streams).loss)
    for ours, theirs in zip(gradients(top, streams), gradients(full, streams), strict=True):
        torch.testing.assert_close(ours, theirs)


def window_streams(ratio, advantage):
    current = torch.full((1, len(ratio)), -1.0, dtype=torch.float64, requires_grad=True)
    behaviour = current.detach() - torch.tensor([ratio], dtype=torch.float64).log()
    mask = torch.ones(1, len(ratio), dtype=torch.bool)
    return TokenStreams(
        mask=mask, current=current, behaviour=behaviour, advantage=torch.tensor([advantage], dtype=torch.float64)
    )


def test_an_engine_that_agrees_with_the_student_weighs_every_token_one():
    streams = window_streams([1.0, 1.0, 1.0], [0.3, -2.0, 0.0])
    output = SampledToken().per_token(streams)
    assert (output.stats["importance"] == 1).all()
    (gradient,) = torch.autograd.grad(output.loss.sum(), streams.current)
    assert gradient.tolist() == [[-0.3, 2.0, 0.0]]


def test_a_ratio_outside_the_window_gives_exactly_no_gradient():
    streams = window_streams([0.49, 0.6, 1.9, 2.01, 1e9], [1.0, 1.0, -1.0, -1.0, 1.0])
    output = SampledToken().per_token(streams)
    (gradient,) = torch.autograd.grad(output.loss.sum(), streams.current)
    assert gradient.tolist() == [pytest.approx([0, -0.6, 1.9, 0, 0])]
    assert gradient[0, [0, 3, 4]].tolist() == [0, 0, 0]
    assert output.stats["masked"].tolist() == [[1, 0, 0, 1, 1]]


def test_the_distill_term_is_the_clipped_log_ratio_on_completion_tokens():
    teacher = torch.tensor([[-1.0, -1.0, -9.0, -0.1, -math.inf]])
    old = torch.tensor([[-9.0, -1.5, -1.0, -9.0, -1.0]])
    mask = torch.tensor([[False, True, True, True, True]])
    term = distill(teacher, old, mask, coefficient=2.0, clip=5.0)
    assert term.tolist() == [pytest.approx([0, 1.0, -10.0, 10.0, -10.0])]


@pytest.mark.parametrize(
    ("loss", "needs"),
    [
        (SampledToken(), {"current", "behaviour", "advantage"}),
        (ReverseKl(), {"hidden", "teacher_hidden"}),
        (TopK({"k": 4}), {"hidden", "teacher_hidden"}),
    ],
)
def test_a_loss_reads_the_streams_that_it_needs_and_no_others(loss, needs):
    streams = streams_of(model(1), model(2), tokens())
    assert loss.needs == needs
    for name in {"old", "behaviour", "reference", "teacher", "advantage", "hidden", "teacher_hidden"} - needs:
        setattr(streams, name, None)
    assert loss.per_token(streams).loss.isfinite().all()
    missing = min(needs - {"current"})
    setattr(streams, missing, None)
    with pytest.raises(PluginError, match=f"reads the stream '{missing}'"):
        loss.per_token(streams)


def test_the_distill_term_needs_old_and_teacher():
    assert Distill.needs == {"old", "teacher"}


def test_the_exact_kl_comes_with_the_sampled_one_to_compare():
    streams = streams_of(model(1), model(2), tokens())
    for loss in LOSSES:
        stats = loss.per_token(streams).stats
        torch.testing.assert_close(stats["sampled_kl"], (streams.current - streams.teacher).detach())
        assert not any(value.requires_grad for value in stats.values())
