"""faststream-outbox: an asyncpg engine, batches as large as served it best, its autovacuum DDL."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
from faststream_outbox import OutboxBroker, make_outbox_table, outbox_autovacuum_ddl
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from bench.peers import harness

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FETCH, FLUSH = harness.setting("BATCH", 1000), harness.setting("FLUSH", 500)
PUBLISHED_AT_ONCE = 1_000


class FastStreamPeer:
    """One worker."""

    uvloop = True
    settings = (
        f"fetch_batch_size={FETCH}, terminal_flush_batch_size={FLUSH}, max_workers=1, asyncpg, "
        "uvloop, logger=None, outbox_autovacuum_ddl(vacuum_cost_delay=0)"
    )
    bulk_how = f"broker.publish_batch, {PUBLISHED_AT_ONCE} a session"

    def __init__(self) -> None:
        address = harness.DSN.replace("postgresql://", "postgresql+asyncpg://", 1)
        self._metadata = MetaData()
        table = make_outbox_table(self._metadata, table_name="outbox")
        self._engine = create_async_engine(address, pool_size=5)
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        self._broker = OutboxBroker(self._engine, outbox_table=table, logger=None)
        self._asked: Any = None

    async def setup(self) -> None:
        """Its table."""
        async with self._engine.begin() as conn:
            await conn.run_sync(self._metadata.create_all)
            await conn.execute(text(outbox_autovacuum_ddl("outbox", vacuum_cost_delay=0)))

    async def fill(self, count: int) -> None:
        """In bulk."""
        await self._broker.connect()
        for begin in range(0, count, PUBLISHED_AT_ONCE):
            numbers = range(begin, min(begin + PUBLISHED_AT_ONCE, count))
            async with self._sessions() as session, session.begin():
                bodies = [harness.payload(number) for number in numbers]
                await self._broker.publish_batch(*bodies, queue="q", session=session)

    async def opener(self) -> Callable[[int], Awaitable[Any]]:
        """One message in a session of its own."""
        await self._broker.connect()

        async def one(number: int) -> None:
            async with self._sessions() as session, session.begin():
                await self._broker.publish(harness.payload(number), queue="q", session=session)

        return one

    async def remaining(self) -> int:
        """One while anything is left."""
        if self._asked is None:
            self._asked = await asyncpg.connect(harness.DSN)
        return int(
            await self._asked.fetchval("select count(*) from (select 1 from outbox limit 1) s")
        )

    async def work(self, on: Callable[[int], Any]) -> None:
        """Its worker."""

        @self._broker.subscriber(
            "q", max_workers=1, fetch_batch_size=FETCH, terminal_flush_batch_size=FLUSH,
            min_fetch_interval=0.05, max_fetch_interval=1.0, lease_ttl_seconds=120.0,
        )  # fmt: skip
        async def handle(body: dict[str, Any]) -> None:
            on(body["seq"])

        await self._broker.start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    harness.main(FastStreamPeer())
