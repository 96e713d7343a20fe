"""The process's random state, which vLLM sets when it starts: training must not notice."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy
import torch


@contextlib.contextmanager
def kept_random_state(device: torch.device) -> Iterator[None]:
    """Put the state of every global generator back on the way out."""
    devices = [device.index or 0] if device.type == "cuda" else []
    python, arrays = random.getstate(), numpy.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        numpy.random.set_state(arrays)
