"""The command line: the engine's commands, and those the application adds.

Exit codes: 0 fine, 1 failed, 2 wrong usage or configuration. With `--json` stdout holds one JSON
document and nothing else; logs go to stderr.
"""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg
import typer
from psycopg_pool import PoolTimeout

from outbox.cli import daemons, doctor, instances, letters, look, operate, tend
from outbox.cli.frame import FAILED, USAGE, AsJson, engine, out, print_json, settings
from outbox.errors import OutboxError, UsageError
from outbox.settings import find_app

__all__ = [
    "AsJson",
    "daemons",
    "doctor",
    "instances",
    "letters",
    "look",
    "main",
    "operate",
    "out",
    "print_json",
    "settings",
    "tend",
]


def main() -> None:
    """The console script."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m outbox` has it
    try:
        app = find_app(_given_app(sys.argv[1:]))
        if app.commands is not None:
            _add_commands(app.commands)
        command = typer.main.get_command(engine)
        code = command.main(prog_name="outbox", obj=app, standalone_mode=False)
    except UsageError as error:
        typer.echo(f"outbox: {error}", err=True)
        sys.exit(USAGE)
    except OutboxError as error:
        hint = getattr(error, "hint", "")  # what to do, where the text is a code
        typer.echo(f"outbox: {error} ({hint})" if hint else f"outbox: {error}", err=True)
        sys.exit(FAILED)
    except (psycopg.Error, PoolTimeout) as error:  # its text may quote values
        kind = f"{type(error).__name__}, SQLSTATE {getattr(error, 'sqlstate', None) or 'unknown'}"
        typer.echo(f"outbox: the database failed in the middle ({kind}); run it again", err=True)
        sys.exit(FAILED)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except Exception as error:
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()  # a usage error of the command line itself
        sys.exit(USAGE)
    sys.exit(code if isinstance(code, int) else 0)


def _given_app(args: list[str]) -> str | None:
    for place, arg in enumerate(args):
        if arg == "--app" and place + 1 < len(args):
            return args[place + 1]
        if arg.startswith("--app="):
            return arg.partition("=")[2]
    return None


def _add_commands(commands: typer.Typer) -> None:
    engine.registered_commands.extend(commands.registered_commands)
    engine.registered_groups.extend(commands.registered_groups)
