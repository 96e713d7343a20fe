"""Judge the attack set on this machine: ``python -m collegium_verifier_code.selftest``; exit status 1 if one passes."""

from __future__ import annotations

import sys

from collegium_verifier_code.selftest.run import run


def main() -> int:
    """Print what happened."""
    outcome = run()
    for name in (*outcome.passed, *outcome.errors):
        print(f"NOT STOPPED: {name}")
    print(
        f"{outcome.tried} hostile submissions: {len(outcome.passed)} passed, {len(outcome.errors)} errors, "
        f"{len(outcome.processes)} processes left, {len(outcome.files)} files left"
    )
    return 0 if outcome.clean else 1


if __name__ == "__main__":
    sys.exit(main())
