"""The command line. Start-up is light: a command imports what it needs when it is called."""

from __future__ import annotations

from collegium.cli.main import main

__all__ = ["main"]
