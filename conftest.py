"""Shared by every member's tests: the fixtures that ship with the core, and where the real data lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ["collegium.testing.fixtures"]

ROOT = Path(__file__).parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real data; without it a test is skipped, and under CI it fails."""
    folder = Path(os.environ.get("COLLEGIUM_DATA") or ROOT.parent / "shared" / "data")
    if folder.is_dir():
        return folder
    if os.environ.get("CI"):
        pytest.fail(f"real data is not at {folder}; set COLLEGIUM_DATA")
    pytest.skip("real data is not there; set COLLEGIUM_DATA")
