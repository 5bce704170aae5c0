"""A relay to be killed, in a process forked from one that has imported everything."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import sys
from typing import TYPE_CHECKING

from outbox import Relay
from tests.crash.application import application
from tests.crash.life import IMPORTED_LATE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta
    from multiprocessing.connection import Connection


class Life:
    """A relay from its start to its end; it is at work when `begun` returns.

    With `mode` "run" it works until SIGTERM, with "drain" until nothing is due.
    """

    def __init__(
        self,
        dsn: str,
        port: int,
        ahead: timedelta,
        handlers: Sequence[str],
        mode: str,
        lone_claims_max: int,
    ) -> None:
        starter = multiprocessing.get_context("forkserver")
        starter.set_forkserver_preload([__name__, *IMPORTED_LATE])
        self._heard, said = starter.Pipe(duplex=False)
        self._process = starter.Process(
            target=_live, args=(said, dsn, port, ahead, handlers, mode, lone_claims_max)
        )
        self._process.start()
        said.close()

    async def begun(self) -> None:
        """Wait until it works, or has died of that."""
        with contextlib.suppress(EOFError):
            await asyncio.to_thread(self._heard.recv)

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    async def ended(self) -> int:
        """Wait for its end; its exit code."""
        await asyncio.to_thread(self._process.join)
        self._heard.close()
        assert self._process.exitcode is not None
        return self._process.exitcode


def _live(
    said: Connection,
    dsn: str,
    port: int,
    ahead: timedelta,
    handlers: Sequence[str],
    mode: str,
    lone_claims_max: int,
) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    app = application(port, ahead, handlers, lone_claims_max=lone_claims_max)
    asyncio.run(_relay(said, Relay(app, dsn), mode))


async def _relay(said: Connection, relay: Relay, mode: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with relay.opened():
        said.send("ready")
        await (relay.run(stop) if mode == "run" else relay.drain())
