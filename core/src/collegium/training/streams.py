"""Token streams: what a loss reads and returns.

Shapes: ``B`` sequences, ``T`` tokens, ``N`` trained tokens (row-major mask order), ``V`` vocabulary, ``D`` width.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from collegium.errors import PluginError


@dataclass(slots=True)
class TokenStreams:
    """One micro-batch as a loss sees it. Log-probs in nats; entry ``[b, t]`` is that of token ``t`` given those before.

    Args:
        mask: ``[B, T]`` bool, the trained tokens.
        current: ``[B, T]`` log-probs of the policy being trained; carries the gradient.
        old: ``[B, T]`` log-probs of the trainer at rollout weights.
        behaviour: ``[B, T]`` log-probs that the engine recorded at sampling.
        reference: ``[B, T]`` log-probs of the KL reference.
        teacher: ``[B, T]`` log-probs of each sequence's teacher.
        advantage: ``[B, T]`` sum of the advantage terms.
        hidden: ``[N, D]`` policy states that predict the trained tokens, over the temperature of the sampling; carries
            the gradient.
        head: ``[V, D]`` the policy's LM head.
        teacher_hidden: ``[N, D_teacher]`` the teacher's states. All sequences of the micro-batch have one teacher then.
        teacher_head: ``[V_teacher, D_teacher]`` that teacher's LM head.
        token_ids: ``[B, T]`` int64.
    """

    mask: Tensor
    current: Tensor
    old: Tensor | None = None
    behaviour: Tensor | None = None
    reference: Tensor | None = None
    teacher: Tensor | None = None
    advantage: Tensor | None = None
    hidden: Tensor | None = None
    head: Tensor | None = None
    teacher_hidden: Tensor | None = None
    teacher_head: Tensor | None = None
    token_ids: Tensor | None = None


@dataclass(slots=True)
class LossOutput:
    """A per-token loss ``[B, T]`` in nats, and per-token statistics of the same shape (detached; the core averages)."""

    loss: Tensor
    stats: dict[str, Tensor] = field(default_factory=dict)


def require(holder: object, stream: str, reader: str) -> Tensor:
    """Return a stream of a batch or micro-batch that `reader` (a loss or an advantage term) cannot do without.

    Raises:
        PluginError: If it is not there.
    """
    found = getattr(holder, stream)
    if not isinstance(found, Tensor):
        raise PluginError(
            f"{reader} reads the stream {stream!r}, which the stage did not provide",
            fix=f"name {stream!r} in the component's `needs`, and use it in a stage that has this stream",
        )
    return found
