"""procrastinate: the async psycopg connector, concurrency as served it best, done jobs deleted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import procrastinate
import psycopg

from bench.peers import harness

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CONCURRENCY = harness.setting("CONCURRENCY", 30)
PUBLISHED_AT_ONCE = 1_000
LEFT = (
    "select count(*) from (select 1 from procrastinate_jobs "
    "where status in ('todo', 'doing') limit 1) s"
)


class ProcrastinatePeer:
    """One worker."""

    uvloop = False
    settings = (
        f"concurrency={CONCURRENCY}, pool max_size={CONCURRENCY + 2}, delete_jobs=successful, "
        "psycopg[binary]"
    )
    bulk_how = f"task.batch_defer_async, {PUBLISHED_AT_ONCE} a call"

    def __init__(self) -> None:
        logging.getLogger("procrastinate").setLevel(logging.ERROR)
        connector = procrastinate.PsycopgConnector(
            conninfo=harness.DSN, min_size=1, max_size=CONCURRENCY + 2
        )
        self._app = procrastinate.App(connector=connector)
        self._heard: list[Callable[[int], Any]] = []
        self._asked: psycopg.AsyncConnection[Any] | None = None

        @self._app.task(name="job", queue="q")
        async def job(seq: int, **_rest: Any) -> None:
            self._heard[0](seq)

        self._job = job

    async def setup(self) -> None:
        """Its schema."""
        async with self._app.open_async():
            await self._app.schema_manager.apply_schema_async()

    async def fill(self, count: int) -> None:
        """In bulk."""
        async with self._app.open_async():
            for begin in range(0, count, PUBLISHED_AT_ONCE):
                numbers = range(begin, min(begin + PUBLISHED_AT_ONCE, count))
                await self._job.batch_defer_async(*[harness.payload(one) for one in numbers])

    async def opener(self) -> Callable[[int], Awaitable[Any]]:
        """One job a call."""
        await self._app.open_async()

        async def one(number: int) -> None:
            await self._job.defer_async(**harness.payload(number))

        return one

    async def remaining(self) -> int:
        """One while anything is left."""
        if self._asked is None:
            self._asked = await psycopg.AsyncConnection.connect(harness.DSN, autocommit=True)
        row = await (await self._asked.execute(LEFT)).fetchone()
        return int(row[0]) if row else 0

    async def work(self, on: Callable[[int], Any]) -> None:
        """Its worker."""
        self._heard[:] = [on]
        async with self._app.open_async():
            await self._app.run_worker_async(
                queues=["q"], concurrency=CONCURRENCY, wait=True, delete_jobs="successful",
                install_signal_handlers=False,
            )  # fmt: skip


if __name__ == "__main__":
    harness.main(ProcrastinatePeer())
