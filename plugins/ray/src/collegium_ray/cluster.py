"""The connection to the cluster; Ray is imported here, when a run uses it."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collegium import PluginError
from collegium_ray.config import OWNER, RayConfig, require_ray

HIDDEN = ("node:", "object_store_memory", "accelerator_type:")
"""Prefixes of what Ray counts as resources of a node and no stage asks for."""

REACH_S = 10.0
"""Seconds within which the head must take a connection."""


class Cluster:
    """A cluster that this process is connected to."""

    def __init__(self, config: RayConfig) -> None:
        """Connect, or start a local cluster.

        Raises:
            PluginError: If Ray is missing, or the cluster cannot be reached.
        """
        require_ray()
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing about a run leaves the cluster unasked
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what a later Ray does anyway
        self.ray: Any = importlib.import_module("ray")  # by name: it is optional, so a type checker may lack it
        self.exceptions: Any = importlib.import_module("ray.exceptions")
        self.ours = not self.ray.is_initialized()
        if self.ours:
            self._connect(config)

    def _connect(self, config: RayConfig) -> None:
        if known := known_address(config.address):
            _require_listener(known)
        local = {"num_cpus": config.local_cpus, "include_dashboard": False} if config.address == "local" else {}
        try:
            with _signals_kept():
                self.ray.init(address=config.address, log_to_driver=False, logging_level=logging.ERROR, **local)
        except (RuntimeError, ValueError, OSError, self.exceptions.RayError) as error:
            raise _unreachable(config.address, error) from error

    def nodes(self) -> list[dict[str, float]]:
        """Return the total resources of each living node."""
        return [
            {name: amount for name, amount in node["Resources"].items() if not name.startswith(HIDDEN)}
            for node in self.ray.nodes()
            if node["Alive"]
        ]

    @property
    def losses(self) -> tuple[type[BaseException], ...]:
        """The errors that say that a task's process or node is gone, rather than that the task failed."""
        names = ("WorkerCrashedError", "NodeDiedError", "LocalRayletDiedError", "OutOfMemoryError", "ObjectLostError")
        return tuple(getattr(self.exceptions, name) for name in names)

    @property
    def is_connected(self) -> bool:
        """Whether the connection is still there."""
        return bool(self.ray.is_initialized())

    def close(self) -> None:
        """Disconnect; a local cluster ends."""
        if self.ours and self.is_connected:
            self.ray.shutdown()


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Put back the handlers that Ray replaces: the command line's own say how a run ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def known_address(address: str) -> str:
    """Return the HOST:PORT that Ray would connect to, as far as it is known beforehand; empty if it is not.

    ``auto`` is what RAY_ADDRESS says, else what a cluster that was started on this machine left in a file; that cluster
    may be gone, and Ray would then wait for it without end.
    """
    if address == "local":
        return ""
    if address != "auto":
        return address
    file = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
    named = os.environ.get("RAY_ADDRESS", "") or (file.read_text(encoding="utf-8") if file.is_file() else "")
    return named.strip() if ":" in named and "://" not in named else ""


def _require_listener(address: str) -> None:
    """Check that something listens at an address: Ray ends the whole process when nothing does.

    Raises:
        PluginError: If nothing does.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> PluginError:
    return PluginError(
        f"the Ray cluster at address {address!r} cannot be reached: {type(error).__name__}: {error}",
        fix="start it (ray start --head), name its head (address: HOST:PORT), or address: local; "
        "if it asks for Ray's token: RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or its file",
        owner=OWNER,
    )
