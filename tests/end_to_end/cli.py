"""The command line in processes: forked from one that has imported everything, or started."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
SCRIPT = Path(sys.executable).parent / "outbox"
_PRELOADED = ["outbox.cli", "sagas.commands", "sagas.app", "tests.end_to_end.cli"]


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    def document(self) -> Any:
        """The one JSON document on stdout; anything beside it is an error."""
        return json.loads(self.out)

    def complaint(self) -> str:
        """The one line that says what was wrong; beside it there may be log lines, and no more."""
        assert self.out == ""
        (line,) = [line for line in self.err.splitlines() if not line.startswith("{")]
        assert line.startswith("outbox: ")
        return line.removeprefix("outbox: ")


@dataclass
class Terminal:
    """Runs commands in the repository with an environment of its own."""

    folder: Path
    env: Mapping[str, str]
    _numbers: count[int] = field(default_factory=count)

    async def run(self, *args: object, **env: str | None) -> Ran:
        """Run one command to its end; `env` adds to the environment, None takes away."""
        given = [str(arg) for arg in args]
        merged = {**self.env, **env}
        kept = {name: value for name, value in merged.items() if value is not None}
        files = [self.folder / f"{next(self._numbers)}.{name}" for name in ("out", "err")]
        starter = multiprocessing.get_context("forkserver")
        starter.set_forkserver_preload(_PRELOADED)
        process = starter.Process(target=_command, args=(given, kept, *map(str, files)))
        process.start()
        await asyncio.to_thread(process.join)
        assert process.exitcode is not None
        out, err = (file.read_text(encoding="utf-8") for file in files)
        return Ran(process.exitcode, out, err)

    async def start(self, *args: object, **env: str | None) -> Ran:
        """The same through the installed console script, from nothing."""
        merged = {**self.env, **env}
        kept = {name: value for name, value in merged.items() if value is not None}
        process = await asyncio.create_subprocess_exec(
            str(SCRIPT), *map(str, args), cwd=ROOT, env=kept,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())


def _command(args: list[str], env: dict[str, str], out: str, err: str) -> None:
    """What a fork does: become a fresh `outbox` with these arguments and this environment."""
    from outbox.cli import main  # noqa: PLC0415 - only the fork is a command line

    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(env)
    for path, stream in ((out, sys.stdout), (err, sys.stderr)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)
    sys.argv = ["outbox", *args]
    main()
