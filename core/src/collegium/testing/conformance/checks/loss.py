"""Checks of losses, where torch is installed: shape, finite values and gradients, a pure function.

Shapes: ``B`` sequences, ``T`` tokens, ``N`` trained tokens, ``V`` vocabulary, ``D`` width.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import TYPE_CHECKING, Any

from collegium.testing.conformance.check import check
from collegium.testing.conformance.outcome import NotApplicable, require
from collegium.testing.conformance.subject import Subject

if TYPE_CHECKING:
    from collegium.training.streams import TokenStreams

STREAMS = {"current", "old", "behaviour", "reference", "teacher", "advantage", "hidden", "teacher_hidden"}
B, T, V, D = 3, 5, 128, 4


@check("loss")
def needs_known(subject: Subject) -> None:
    """`needs` names streams that a stage can provide."""
    _require_torch()
    unknown = set(subject.shared.needs) - STREAMS
    require(not unknown, f"needs names {sorted(unknown)}; known are {', '.join(sorted(STREAMS))}")


@check("loss")
def loss_finite(subject: Subject) -> None:
    """The loss and its statistics are finite ``[B, T]``, statistics detached, with nothing but `needs` at hand."""
    _require_torch()
    output, streams = _output(subject)
    for name, tensor in {"loss": output.loss, **output.stats}.items():
        require(tuple(tensor.shape) == (B, T), f"{name} has shape {list(tensor.shape)}, expected [{B}, {T}]")
        require(bool(tensor[streams.mask].isfinite().all()), f"{name} is not finite")
    attached = [name for name, tensor in output.stats.items() if tensor.requires_grad]
    require(not attached, f"statistics that carry a gradient: {', '.join(attached)}")


@check("loss")
def gradient_finite(subject: Subject) -> None:
    """The gradient reaches the policy's stream, and is finite."""
    _require_torch()
    output, streams = _output(subject)
    output.loss[streams.mask].sum().backward()
    found = [each.grad for each in (streams.current, streams.hidden) if each is not None and each.grad is not None]
    require(bool(found), "no gradient reaches `current` or `hidden`")
    require(all(bool(gradient.isfinite().all()) for gradient in found), "a gradient is not finite")
    require(any(bool(gradient.abs().sum() > 0) for gradient in found), "the gradient is zero everywhere")


@check("loss")
def loss_is_pure(subject: Subject) -> None:
    """The same streams give the same loss again, and are left as they were."""
    _require_torch()
    streams = _streams(subject.shared.needs)
    before = {name: value.detach().clone() for name, value in _tensors(streams).items()}
    first, again = subject.shared.per_token(streams).loss, subject.shared.per_token(streams).loss
    require(bool((first == again)[streams.mask].all()), "the same streams gave another loss")
    changed = [name for name, value in _tensors(streams).items() if not bool((value == before[name]).all())]
    require(not changed, f"it changed its inputs: {', '.join(changed)}")


def _require_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        raise NotApplicable("torch is not installed")


def _output(subject: Subject) -> tuple[Any, TokenStreams]:
    streams = _streams(subject.shared.needs)
    return subject.shared.per_token(streams), streams


def _streams(needs: frozenset[str]) -> TokenStreams:
    """Return random streams, those in `needs` and no other besides what always comes."""
    import torch

    from collegium.training.streams import TokenStreams

    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    mask = torch.ones(B, T, dtype=torch.bool)
    mask[0, 3:] = False
    trained = int(mask.sum())
    base = -normal(B, T).abs() - 0.1
    made: dict[str, Any] = {name: base + 0.05 * normal(B, T) for name in ("old", "behaviour", "reference", "teacher")}
    made["advantage"] = normal(B, T)
    kept = {name: tensor for name, tensor in made.items() if name in needs}
    for name, head in (("hidden", "head"), ("teacher_hidden", "teacher_head")):
        if name in needs:
            kept |= {name: normal(trained, D), head: normal(V, D)}
    if "hidden" in kept:
        kept["hidden"].requires_grad_()
    token_ids = torch.randint(V, (B, T), generator=generator)
    return TokenStreams(mask=mask, current=base.clone().requires_grad_(), token_ids=token_ids, **kept)


def _tensors(streams: TokenStreams) -> dict[str, Any]:
    values = {field.name: getattr(streams, field.name) for field in dataclasses.fields(streams)}
    return {name: value for name, value in values.items() if value is not None}
