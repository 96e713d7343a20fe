"""The command group, and how errors end: one clear message, exit code 2."""

from __future__ import annotations

import importlib
import os
import sys
import threading

import click

from collegium.errors import CollegiumError
from collegium.exit_guard import ExitRefused, exit_refused

GRACE_S = 10.0
"""Seconds that threads may take to end when a command is done."""

COMMANDS = {
    "plan": "collegium.cli.recipes:plan",
    "run": "collegium.cli.recipes:run",
    "resume": "collegium.cli.recipes:resume",
    "report": "collegium.cli.runs:report",
    "diff": "collegium.cli.runs:diff",
    "eval": "collegium.cli.runs:evaluate",
    "plugins": "collegium.cli.plugins:plugins",
    "check": "collegium.cli.check:check",
    "audit": "collegium.cli.audit:audit",
    "new": "collegium.cli.new:new",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands, in the order that a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="collegium")
@click.option("--no-plugin", "blocked", multiple=True, metavar="NAME", help="Do not load this distribution's plugin.")
def cli(blocked: tuple[str, ...]) -> None:
    """Collegium: post-training recipes from independently installable packages."""
    if blocked:
        before = os.environ.get("COLLEGIUM_NO_PLUGIN", "")
        os.environ["COLLEGIUM_NO_PLUGIN"] = ",".join(filter(None, [before, *blocked]))


def main() -> None:
    """Run the command line; a CollegiumError ends in its message and exit code 2."""
    code = _run()
    _leave_within(GRACE_S, code)
    sys.exit(code)


def _leave_within(seconds: float, code: int) -> None:
    """End the process in a while even if a thread that a plugin started never ends."""

    def leave() -> None:
        left = [thread.name for thread in threading.enumerate() if not thread.daemon and thread.is_alive()]
        print(f"left {len(left)} threads behind that did not end: {', '.join(left)}", file=sys.stderr, flush=True)
        os._exit(code)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()


def _run() -> int:
    """Run the command and return its exit code."""
    try:
        with exit_refused():
            code = cli.main(standalone_mode=False)  # click returns the code of an Exit
        return code if isinstance(code, int) else 0
    except ExitRefused as error:
        click.echo(f"error: a plugin's code ended the command: {error}", err=True)
        return 2
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except CollegiumError as error:
        count = len(error.problems)
        click.echo(f"error: {error}" if count == 1 else f"{count} problems:\n{error}", err=True)
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except OSError as error:
        click.echo(f"error: {error}\n    fix: check disk space and the folder's rights", err=True)
        return 2
