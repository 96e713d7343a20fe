"""An address is looked at before Ray is: where nothing listens, Ray would wait or end the process."""

from __future__ import annotations

import socket

import pytest

from collegium import PluginError
from collegium_ray.cluster import _require_listener, known_address


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    return tmp_path


def test_auto_is_what_the_environment_says_or_a_local_cluster_left(nowhere, monkeypatch):
    assert known_address("auto") == ""
    (nowhere / "ray").mkdir()
    (nowhere / "ray/ray_current_cluster").write_text("192.0.2.2:47933\n")
    assert known_address("auto") == "192.0.2.2:47933"
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert known_address("auto") == "head:6379"


@pytest.mark.usefixtures("nowhere")
def test_local_needs_no_address_and_a_named_one_is_itself():
    assert known_address("local") == ""
    assert known_address("head:6379") == "head:6379"


def test_a_cluster_that_is_gone_is_told_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(PluginError, match="cannot be reached"):
        _require_listener(f"127.0.0.1:{port}")
