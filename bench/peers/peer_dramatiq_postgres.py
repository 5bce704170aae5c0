"""dramatiq-postgres: a dramatiq worker in one process (what `dramatiq -p 1` runs), no-op actor."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.peers import harness

PREFETCH = harness.setting("PREFETCH", 256)
os.environ["dramatiq_queue_prefetch"] = str(PREFETCH)  # noqa: SIM112 - its own spelling, read once

import dramatiq  # noqa: E402 - it reads the prefetch when it is imported
import psycopg  # noqa: E402 - beside the other
from dramatiq_postgres import PostgresBroker  # noqa: E402 - beside the other

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

THREADS = harness.setting("CONCURRENCY", 8)
LEFT = "select count(*) from (select 1 from dramatiq.queue limit 1) s"


def _broker() -> Any:
    mark = "&" if "?" in harness.DSN else "?"
    return PostgresBroker(
        url=f"{harness.DSN}{mark}maxconn={THREADS + 8}", results=False, notify=True
    )


BROKER = _broker()
dramatiq.set_broker(BROKER)
_HEARD: list[Callable[[int], Any]] = []


@dramatiq.actor(queue_name="q")
def noop(body: dict[str, Any]) -> None:
    """Tell that it was called."""
    _HEARD[0](body["seq"])


class DramatiqPeer:
    """Threads in one process."""

    uvloop = False
    threaded = True
    settings = f"1 process, {THREADS} threads, dramatiq_queue_prefetch={PREFETCH}, results off"
    bulk_how = "no bulk call: actor.send one by one from 8 threads"

    def __init__(self) -> None:
        self._asked: psycopg.AsyncConnection[Any] | None = None
        self._worker: Any = None

    async def setup(self) -> None:
        """Its tables, by its own command."""
        program = Path(sys.executable).with_name("dramatiq-postgres")
        command = [str(program), "--dsn", harness.DSN, "init"]
        await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)

    async def fill(self, count: int) -> None:
        """As fast as it goes."""

        def send_all() -> None:
            with ThreadPoolExecutor(8) as threads:
                for _ in threads.map(lambda i: noop.send(harness.payload(i)), range(count)):
                    pass

        await asyncio.to_thread(send_all)

    async def opener(self) -> Callable[[int], Awaitable[Any]]:
        """One message a call."""

        async def one(number: int) -> None:
            noop.send(harness.payload(number))

        return one

    async def remaining(self) -> int:
        """One while anything is left."""
        if self._asked is None:
            self._asked = await psycopg.AsyncConnection.connect(harness.DSN, autocommit=True)
        row = await (await self._asked.execute(LEFT)).fetchone()
        return int(row[0]) if row else 0

    async def work(self, on: Callable[[int], Any]) -> None:
        """Its worker, in threads."""
        _HEARD[:] = [on]
        self._worker = dramatiq.Worker(BROKER, worker_threads=THREADS)
        self._worker.start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    harness.main(DramatiqPeer())
