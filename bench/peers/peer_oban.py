"""Oban for Python: embedded, one queue, the local limit as concurrency."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import psycopg
from oban import Oban, schema, worker

from bench.peers import harness

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LIMIT = harness.setting("CONCURRENCY", 1000)
PUBLISHED_AT_ONCE = 1_000
LEFT = (
    "select count(*) from (select 1 from oban_jobs "
    "where state in ('available', 'executing', 'retryable', 'scheduled') limit 1) s"
)
_HEARD: list[Callable[[int], Any]] = []


@worker(queue="q")
class Noop:
    """Tells that it was called."""

    async def process(self, job: Any) -> None:
        """One job."""
        _HEARD[0](job.args["seq"])


class ObanPeer:
    """One instance."""

    uvloop = True
    settings = f"queues={{'q': {LIMIT}}}, pool default (1..10), uvloop, psycopg[binary]"
    bulk_how = f"oban.enqueue_many, {PUBLISHED_AT_ONCE} a call"

    def __init__(self) -> None:
        self._asked: psycopg.AsyncConnection[Any] | None = None

    async def setup(self) -> None:
        """Its tables; the pool is not asked to stop."""
        await schema.install(await Oban.create_pool(harness.DSN))
        harness.emit({"settings": self.settings})
        os._exit(0)

    async def fill(self, count: int) -> None:
        """In bulk."""
        oban = Oban(pool=await Oban.create_pool(harness.DSN))
        for begin in range(0, count, PUBLISHED_AT_ONCE):
            numbers = range(begin, min(begin + PUBLISHED_AT_ONCE, count))
            await oban.enqueue_many(*[Noop.new(harness.payload(one)) for one in numbers])  # type: ignore[attr-defined] # the decorator adds it

    async def opener(self) -> Callable[[int], Awaitable[Any]]:
        """One job a call."""
        oban = Oban(pool=await Oban.create_pool(harness.DSN))

        async def one(number: int) -> None:
            await oban.enqueue(Noop.new(harness.payload(number)))  # type: ignore[attr-defined] # as above

        return one

    async def remaining(self) -> int:
        """One while anything is left."""
        if self._asked is None:
            self._asked = await psycopg.AsyncConnection.connect(harness.DSN, autocommit=True)
        row = await (await self._asked.execute(LEFT)).fetchone()
        return int(row[0]) if row else 0

    async def work(self, on: Callable[[int], Any]) -> None:
        """Its worker."""
        _HEARD[:] = [on]
        pool = await Oban.create_pool(harness.DSN)
        async with Oban(pool=pool, queues={"q": LIMIT}):
            await asyncio.Event().wait()


if __name__ == "__main__":
    harness.main(ObanPeer())
