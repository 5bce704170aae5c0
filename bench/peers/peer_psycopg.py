"""No outbox at all: psycopg takes rows, parses them and settles them; nobody is called.

What a relay in Python over psycopg cannot do better than: `BENCH_SHAPE` held (row locks are the
lease; delete and receipt in the same transaction) or leased (lease by update, then delete and
receipt), two connections in turns; woken by LISTEN while it has nothing to do.
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.rows import scalar_row

from bench.ground import statement
from bench.peers import harness

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

SHAPE: Final = os.environ.get("BENCH_SHAPE", "leased")
BATCH: Final = harness.setting("BATCH", 1_000)
LANES: Final = 2
LIMITS: Final = Path(__file__).parents[1] / "limits"
SETTLE: Final = statement("floor_settle")


class Psycopg:
    """The plain table of `bench/limits`, and two connections."""

    uvloop = True  # where the environment has it; the settings tell
    bulk_how = "insert ... select"
    settings = f"{SHAPE}, batches of {BATCH}, {LANES} connections, psycopg[binary]"

    def __init__(self) -> None:
        self._asked: psycopg.AsyncConnection[int] | None = None

    async def setup(self) -> None:
        """The limits' tables."""
        async with await _connect() as conn:
            for file in ("schema.sql", "receipt.sql"):
                await conn.execute((LIMITS / file).read_bytes(), prepare=False)

    async def fill(self, count: int) -> None:
        """In one statement; its rows are analysed, as the limits' are."""
        async with await _connect() as conn:
            await conn.execute(statement("floor_fill"), {"count": count})
            await conn.execute("vacuum analyze outbox")

    async def opener(self) -> Callable[[int], Awaitable[Any]]:
        """A row and a ring, in a transaction of their own."""
        conn = await _connect()
        publish = statement("floor_publish")

        async def one(number: int) -> None:
            await conn.execute(publish, {"payload": json.dumps(harness.payload(number))})

        return one

    async def remaining(self) -> int:
        """One while anything is left."""
        if self._asked is None:
            self._asked = await psycopg.AsyncConnection.connect(
                harness.DSN, autocommit=True, row_factory=scalar_row
            )
        cursor = await self._asked.execute("select count(*) from (select from outbox limit 1) as o")
        left = await cursor.fetchone()
        assert left is not None, "a count is one row"
        return left

    async def work(self, on: Callable[[int], Any]) -> None:
        """Take, count and settle, until the process ends."""
        if os.environ.get("BENCH_SETTLE_SECONDS"):  # latency: one row at a time
            await self._listen(on)
        take = self._hold if SHAPE == "held" else self._lease
        await asyncio.gather(*(take(on) for _ in range(LANES)))

    async def _hold(self, on: Callable[[int], Any]) -> None:
        conn, hold = await _connect(), statement("floor_hold")
        while True:
            async with conn.transaction():
                rows = await (await conn.execute(hold, {"batch": BATCH})).fetchall()
                await _settle(conn, rows, on)

    async def _lease(self, on: Callable[[int], Any]) -> None:
        conn, lease, last = await _connect(), statement("floor_lease"), 0
        while True:
            rows = await (await conn.execute(lease, {"batch": BATCH, "last": last})).fetchall()
            last = max((row[0] for row in rows), default=last)
            await _settle(conn, rows, on)

    async def _listen(self, on: Callable[[int], Any]) -> None:
        conn, lease = await _connect(), statement("floor_lease")
        async with await _connect() as ear:
            await ear.execute("listen floor")
            async for _ in ear.notifies():
                rows = await (await conn.execute(lease, {"batch": BATCH, "last": 0})).fetchall()
                if rows:
                    async with conn.transaction() if SHAPE == "begun" else nullcontext():
                        for row in rows:
                            on(json.loads(row[3])["seq"])
                        await conn.execute(SETTLE, {"ids": [row[0] for row in rows]})


async def _settle(conn: Any, rows: Sequence[tuple[Any, ...]], on: Callable[[int], Any]) -> None:
    if rows:
        for row in rows:
            on(row[0])
        await conn.execute(SETTLE, {"ids": [row[0] for row in rows]})


async def _connect() -> psycopg.AsyncConnection[tuple[Any, ...]]:
    return await psycopg.AsyncConnection.connect(harness.DSN, autocommit=True, prepare_threshold=0)


if __name__ == "__main__":
    harness.main(Psycopg())
