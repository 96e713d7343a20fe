"""What a stage's parts hold in memory, in bytes, by formula.

Sources. Weights, gradients and optimizer, and their split over ranks: ZeRO (arXiv 1910.02054, section 3.1, figure 1);
offload: ZeRO-Offload (arXiv 2101.06840). Activations: the tensors that the backward pass reads, counted one by one as
in Korthikanti et al. (arXiv 2205.05198, section 4.1). Their ``sbh(34 + 5as/h)`` is for 16-bit GPT with dropout, a GELU
MLP and kept attention scores; here: no dropout, RMSNorm, a gated MLP, grouped keys and values, and an attention kernel
(flash or memory-efficient) that keeps no scores, so that the term in ``as/h`` is gone. The numbers are held against the
tensors of a real step in `tests/training/test_resources_measured.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from collegium.launch_config import LaunchConfig
from collegium.recipe.shape import ModelShape

GIB = 2**30
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
WIDTH = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of a number."""
LOGIT_COPIES = 6
"""Float32 arrays of ``[chunk, V]`` alive at once in the backward pass of log-probs; 5.9 measured."""
KL_LOGIT_COPIES = 9
"""The same where the teacher's logits are made beside the student's; 8.6 measured."""
LOADING_BLOCK = 2**30
"""Bytes on their way to their ranks at once, while a model is split: `collegium.training.waiting.BLOCK`."""
SAMPLED_LOGIT_COPIES = 3
"""Float32 arrays of ``[sequences, V]`` while a token is drawn: logits, log-probs, probabilities."""

Mode = Literal["float32", "autocast", "low"]
"""The layers' numbers: as the weights; cast by autocast from float32 weights; or bfloat16 throughout (FSDP2, ZeRO)."""
NORM_BYTES: dict[Mode, tuple[int, int]] = {"float32": (12, 12), "autocast": (14, 12), "low": (8, 8)}
"""Bytes per channel that a layer's first and second RMSNorm leave: float32 input, normalised, output. Autocast casts
the output once for each of the matrices that reads it (three, then two) and drops the float32 one."""
HEAD_NORM_BYTES: dict[Mode, int] = {"float32": 8, "autocast": 6, "low": 6}
"""The same for the norm of queries and keys, whose output is not kept."""


@dataclass(frozen=True, slots=True)
class States:
    """Weights, gradients and optimizer on one device, and what waits in main memory; bytes.

    Args:
        weights: The weights that it keeps.
        working: Weights put together, or cast, only for the pass, with the gradients on their way.
        gradients: The gradients that it keeps.
        optimizer: AdamW's moments, and the float32 weights that DeepSpeed updates beside those that are trained with.
        host: What waits in main memory, per rank: by offload, and frozen weights that DeepSpeed would round.
        buckets: Copies of the gradients that DistributedDataParallel adds up, there from the start on.
    """

    weights: int
    working: int
    gradients: int
    optimizer: int
    host: int = 0
    buckets: int = 0


def mode_of(launch: LaunchConfig, precision: str) -> Mode:
    """Return how a strategy makes numbers of a precision."""
    if precision == "float32":
        return "float32"
    return "autocast" if launch.strategy in ("single", "ddp") else "low"


def states(shape: ModelShape, launch: LaunchConfig, precision: str, trained: int | None = None) -> States:
    """Return what weights, gradients and optimizer take on each device.

    The optimizer is split over the ranks from ``zero1`` on, the gradients from ``zero2``, the weights with ``zero3``
    and ``fsdp2``.

    Args:
        shape: The model.
        launch: How it is spread.
        precision: Of the layers' numbers.
        trained: Weights that are trained, where an adapter leaves the others as they are and adds these to them.
    """
    every, some = (shape.count, shape.count) if trained is None else (shape.count + trained, trained)
    zero = int(launch.strategy[-1]) if launch.strategy.startswith("zero") else 0
    whole = launch.strategy == "fsdp2"
    narrow = zero > 0 and precision != "float32"
    weights, gradients, optimizer = _bytes_per_weight(launch, narrow=narrow)
    ranks = launch.ranks
    kept_weights = share(every * weights, ranks if zero == 3 or whole else 1)
    kept_gradients = share(some * gradients, ranks if zero >= 2 or whole else 1)
    kept_optimizer = share(some * optimizer, ranks if zero >= 1 or whole else 1)
    working = _working(shape, launch, mode_of(launch, precision))
    frozen = 4 * shape.count if narrow and trained is not None else 0
    buckets = 4 * some if launch.strategy == "ddp" else 0
    if launch.offload == "none":
        return States(kept_weights, working, kept_gradients, kept_optimizer, frozen, buckets)
    host = kept_gradients + kept_optimizer + frozen
    if zero == 2:  # a buffer for what it updated, on its way back to the device
        host += share(some * weights, ranks)
    if whole or launch.offload == "parameters":  # FSDP2 offloads all or nothing
        return States(0, working, 0, 0, host + kept_weights)
    return States(kept_weights, working, 0, 0, host)


def _bytes_per_weight(launch: LaunchConfig, *, narrow: bool) -> tuple[int, int, int]:
    """Return the bytes of a weight, of its gradient and of what the optimizer keeps of it.

    Weights are float32, whatever the layers' precision, unless DeepSpeed trains bfloat16 ones with a float32 copy; it
    adds gradients up in float32, and ZeRO-1 keeps those of bfloat16 beside them. It copies float32 weights, too: ZeRO-3
    only where it is offloaded.
    """
    if narrow:
        return 2, 6 if launch.strategy == "zero1" else 4, 12
    copies = launch.strategy in ("zero1", "zero2") or (launch.strategy == "zero3" and launch.offload != "none")
    return 4, 4, 12 if copies else 8


def adapter_weights(shape: ModelShape, rank: int) -> int:
    """Return the weights of LoRA (arXiv 2106.09685) on every matrix of every layer: ``rank * (in + out)`` for each."""
    attention = 2 * (shape.hidden + shape.query_width) + 2 * (shape.hidden + shape.kv_width)
    mlp = 3 * shape.experts * (shape.hidden + shape.intermediate)
    return shape.layers * rank * (attention + mlp)


def _working(shape: ModelShape, launch: LaunchConfig, mode: Mode) -> int:
    """Return what the pass adds: autocast's copies; or the ends and two layers put together, and a layer's gradient."""
    if launch.shards_weights:
        return (2 * _ends(shape) + 3 * shape.layer_parameters) * (2 if mode == "low" else 4)
    return 2 * shape.count if mode == "autocast" else 0


def reading(shape: ModelShape, width: int) -> tuple[int, int]:
    """Return what a forward pass over split weights puts together: embeddings and head; and two layers."""
    return _ends(shape) * width, 2 * shape.layer_parameters * width


def _ends(shape: ModelShape) -> int:
    return shape.count - shape.layers * shape.layer_parameters


def share(total: int, ranks: int) -> int:
    """Return the largest part of what is dealt to ranks."""
    return -(-total // ranks)


def layer_activations(shape: ModelShape, rows: int, length: int, mode: Mode, *, padded: bool) -> int:
    """Return the bytes that one layer keeps for its backward pass over ``[rows, length]`` tokens.

    Args:
        shape: The model; of experts, those that a token meets count.
        rows: Rows of the micro-batch.
        length: Tokens of a row.
        mode: How numbers are made.
        padded: Whether the rows are padded: every layer then keeps a mask of its own; packed rows share one.

    Raises:
        ValueError: If the shape does not say what MLP a token meets.
    """
    width = 4 if mode == "float32" else 2
    inner = shape.active_intermediate
    if inner is None:
        raise ValueError("experts without active_parameters")
    norms = sum(NORM_BYTES[mode]) * shape.hidden + 2 * 4
    attention = 4 * shape.query_width * width + 4 * shape.heads  # q, k and v repeated for it, output; log-sum-exp
    if shape.qk_norm:
        attention += HEAD_NORM_BYTES[mode] * (shape.query_width + shape.kv_width) + 4 * (shape.heads + shape.kv_count)
    mlp = 4 * inner * width  # gate, its SiLU, up, their product
    mask = length * width if padded else 0
    return rows * length * (norms + attention + mlp + mask)


def activations(
    shape: ModelShape, rows: int, length: int, mode: Mode, *, padded: bool, checkpointing: bool = False
) -> int:
    """Return the bytes kept for the backward pass over a micro-batch, logits left out.

    With gradient checkpointing each layer keeps its input, and one layer at a time all that it needs.
    """
    width = 4 if mode == "float32" else 2
    tokens = rows * length
    layer = layer_activations(shape, rows, length, mode, padded=padded)
    layers = shape.layers * layer
    if checkpointing:
        layers = shape.layers * tokens * shape.hidden * (2 if mode == "low" else 4) + layer
    mask = 0 if padded else rows * length**2 * width
    rotary = 2 * (shape.query_width // shape.heads) * (2 if mode == "low" else 4)
    # Token ids; the final norm; the states at the trained tokens and their gradient.
    ends = 8 + rotary + (8 if mode == "low" else 12) * shape.hidden + 4 + 2 * shape.hidden * width
    return layers + tokens * ends + mask


def logits(shape: ModelShape, chunk: int, *, teacher: bool = False) -> int:
    """Return the bytes of the largest temporaries over the vocabulary, and of the head's float32 gradient."""
    copies = KL_LOGIT_COPIES if teacher else LOGIT_COPIES
    return copies * chunk * shape.vocabulary * 4 + shape.embeddings * 4


def kv_cache(shape: ModelShape, tokens: int, width: int) -> int:
    """Return ``2 * layers * kv_heads * head_dim * bytes * tokens``, as if no layer had a window."""
    return 2 * shape.layers * shape.kv_width * width * tokens


def size(count: int) -> str:
    """Return a number of bytes in the largest unit that leaves at least 1."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.{0 if unit == 0 or value >= 100 else 1}f} {UNITS[unit]}"
