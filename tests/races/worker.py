"""One of the racing processes: `python -m tests.races.worker DSN INDEX MESSAGES`.

It says `ready`, waits for a line, then publishes and relays at once. Every fifth transaction rolls
back. What it learned about contested dedup keys is its last line, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from random import Random

from psycopg import AsyncConnection

from outbox import Relay, apublish
from tests.races.application import Counted, Moved, application

CONTESTED = 20


async def publish_all(dsn: str, index: int, messages: int) -> None:
    """Publish under the lock of a shelf, as a domain change would."""
    random = Random(index)  # noqa: S311 - a seed, not a secret
    async with await AsyncConnection.connect(dsn) as conn:
        for number in range(messages):
            key = f"shelf:{random.randint(1, 4)}"
            cursor = await conn.execute(
                "update shelf set version = version + 1 where key = %s returning version", (key,)
            )
            (version,) = await cursor.fetchone() or (0,)
            await apublish(conn, Moved(number=number), key=key, sequence=version)
            await apublish(conn, Counted(number=number))
            await (conn.rollback() if number % 5 == 4 else conn.commit())


async def contest(dsn: str, index: int) -> list[tuple[int, int, bool, bool]]:
    """Publish the same keys as everybody else: (key, message id, duplicate, committed)."""
    found = []
    async with await AsyncConnection.connect(dsn) as conn:
        for key in range(CONTESTED):
            receipt = await apublish(conn, Counted(number=key), dedup_key=f"contested:{key}")
            commits = (key + index) % 3 > 0
            await (conn.commit() if commits else conn.rollback())
            found.append((key, receipt.message_id, receipt.duplicate, commits))
    return found


async def main(dsn: str, index: int, messages: int) -> None:
    relay, stop = Relay(application(dsn), dsn), asyncio.Event()
    async with relay.opened():
        print("ready", flush=True)  # noqa: T201 - the parent waits for it
        await asyncio.to_thread(sys.stdin.readline)
        work = asyncio.create_task(relay.run(stop))
        found, _ = await asyncio.gather(contest(dsn, index), publish_all(dsn, index, messages))
        stop.set()
        await work
        await relay.drain()
    print(json.dumps(found), flush=True)  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
