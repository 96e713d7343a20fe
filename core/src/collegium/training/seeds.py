"""Seeds: every random choice of a stage follows from the job's seed, the stage's id and the step."""

from __future__ import annotations

import hashlib
import random

import torch


def derive(seed: int, *parts: object) -> int:
    """Return a seed in [0, 2^63) that depends on all the parts, the same on every machine."""
    text = "\x1f".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_everything(seed: int) -> None:
    """Seed torch's and Python's global generators."""
    torch.manual_seed(seed)
    random.seed(seed)
