"""pgqueuer: the asyncpg driver and uvloop, as its own benchmark; `pgq autovac` applied."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

from bench.peers import harness

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BATCH = harness.setting("BATCH", 1000)
PUBLISHED_AT_ONCE = 10_000


class PgQueuerPeer:
    """One QueueManager."""

    uvloop = True
    settings = f"batch_size={BATCH}, one QueueManager, asyncpg, uvloop, autovacuum as it advises"
    bulk_how = f"Queries.enqueue with lists, {PUBLISHED_AT_ONCE} a call"

    def __init__(self) -> None:
        self._asked: Any = None

    async def setup(self) -> None:
        """Its tables."""
        queries = await _queries()
        await queries.install()
        await queries.optimize_autovacuum()

    async def fill(self, count: int) -> None:
        """In bulk."""
        queries = await _queries()
        for begin in range(0, count, PUBLISHED_AT_ONCE):
            numbers = range(begin, min(begin + PUBLISHED_AT_ONCE, count))
            size = len(numbers)
            await queries.enqueue(["job"] * size, [_body(one) for one in numbers], [0] * size)

    async def opener(self) -> Callable[[int], Awaitable[Any]]:
        """One job a call."""
        queries = await _queries()

        async def one(number: int) -> None:
            await queries.enqueue("job", _body(number))

        return one

    async def remaining(self) -> int:
        """One while anything is left."""
        if self._asked is None:
            self._asked = await asyncpg.connect(harness.DSN)
        return int(
            await self._asked.fetchval("select count(*) from (select 1 from pgqueuer limit 1) s")
        )

    async def work(self, on: Callable[[int], Any]) -> None:
        """Its worker."""
        manager = PgQueuer(AsyncpgDriver(await asyncpg.connect(harness.DSN)))

        @manager.entrypoint("job")
        async def job(one: Any) -> None:
            on(json.loads(one.payload)["seq"])

        await manager.run(batch_size=BATCH, dequeue_timeout=timedelta(seconds=30))


async def _queries() -> Queries:
    return Queries(AsyncpgDriver(await asyncpg.connect(harness.DSN)))


def _body(number: int) -> bytes:
    return json.dumps(harness.payload(number)).encode()


if __name__ == "__main__":
    harness.main(PgQueuerPeer())
