"""Say why the sandbox cannot be made here, and what to do."""

from __future__ import annotations

from pathlib import Path

from collegium import VerifierError

OWNER = "collegium-verifier-code"
SETTINGS = (
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)
"""Kernel settings under which an unprivileged user has no namespaces: file, value, and what lifts it."""
CONTAINER_FIX = "in a container: start it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined"


def explain(why: str) -> VerifierError:
    """Make the error for a sandbox whose building failed.

    Args:
        why: The step that failed and the system's word for it.
    """
    found = [(Path(file).name, value, fix) for file, value, fix in SETTINGS if _reads(file, value)]
    causes = "".join(f"; {name} is {value}" for name, value, _ in found)
    fix = ", ".join(f"as root `{fix}`" for *_, fix in found) or CONTAINER_FIX
    return VerifierError(
        "code is not run without a sandbox, and the sandbox cannot be made here: tried user, mount, pid, network, "
        "ipc and uts "
        f"namespaces, pivot_root and seccomp; failed at {why}{causes}",
        fix=f"{fix}; needs Linux 5.12 or newer on x86_64 or aarch64",
        owner=OWNER,
    )


def _reads(file: str, value: str) -> bool:
    path = Path(file)
    return path.exists() and path.read_text().strip() == value
