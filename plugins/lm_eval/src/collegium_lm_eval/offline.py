"""No hub: data sets come from files, and their cache lies in the run's directory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def offline(cache: Path) -> Iterator[None]:
    """Forbid the hub to `datasets` and `huggingface_hub`, and keep what `datasets` prepares in `cache`.

    Their environment variables are read at import, which may be over; so the settings themselves are changed, and put
    back.
    """
    import datasets.config
    import huggingface_hub.constants

    wanted = [
        (datasets.config, "HF_HUB_OFFLINE", True),
        (datasets.config, "HF_DATASETS_OFFLINE", True),
        (datasets.config, "HF_DATASETS_CACHE", cache),
        (huggingface_hub.constants, "HF_HUB_OFFLINE", True),
    ]
    missing = object()
    before = [(module, name, getattr(module, name, missing)) for module, name, _ in wanted]
    for module, name, value in wanted:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            delattr(module, name) if value is missing else setattr(module, name, value)
