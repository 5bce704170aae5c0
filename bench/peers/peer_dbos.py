"""DBOS Transact: a no-op async workflow on a registered queue."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
from dbos import DBOS, DBOSClient

from bench.peers import harness

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CONCURRENCY = harness.setting("CONCURRENCY", 500)
POLL_SECONDS = 0.01
QUEUED = {"queue_name": "q", "workflow_name": "noop", "app_version": "1"}
LEFT = (
    "select count(*) from (select 1 from dbos.workflow_status "
    "where status in ('ENQUEUED', 'PENDING') limit 1) s"
)


class DbosPeer:
    """One executor."""

    uvloop = False
    threaded = True
    settings = (
        f"worker_concurrency={CONCURRENCY}, polling_interval_sec={POLL_SECONDS}, async workflow, "
        "sys_db_pool_size=20"
    )
    bulk_how = "no bulk call: DBOSClient.enqueue from 10 threads"

    def __init__(self) -> None:
        self._asked: psycopg.AsyncConnection[Any] | None = None

    async def setup(self) -> None:
        """Its tables and the queue; it is not asked to stop, that takes long."""
        await asyncio.to_thread(_launch, lambda _: None)
        harness.emit({"settings": self.settings})
        os._exit(0)

    async def fill(self, count: int) -> None:
        """As fast as it goes."""
        client = DBOSClient(system_database_url=harness.DSN)

        def send_all() -> None:
            with ThreadPoolExecutor(10) as threads:
                for _ in threads.map(
                    lambda i: client.enqueue(QUEUED, harness.payload(i)), range(count)
                ):
                    pass

        await asyncio.to_thread(send_all)

    async def opener(self) -> Callable[[int], Awaitable[Any]]:
        """One workflow a call."""
        client = DBOSClient(system_database_url=harness.DSN)

        async def one(number: int) -> None:
            client.enqueue(QUEUED, harness.payload(number))

        return one

    async def remaining(self) -> int:
        """One while anything is left."""
        if self._asked is None:
            self._asked = await psycopg.AsyncConnection.connect(harness.DSN, autocommit=True)
        row = await (await self._asked.execute(LEFT)).fetchone()
        return int(row[0]) if row else 0

    async def work(self, on: Callable[[int], Any]) -> None:
        """Its executor, which has a loop and threads of its own."""
        await asyncio.to_thread(_launch, on)
        await asyncio.Event().wait()


def _launch(on: Callable[[int], Any]) -> None:
    DBOS(
        config={
            "name": "bench", "system_database_url": harness.DSN, "log_level": "ERROR",
            "application_version": "1", "executor_id": "w1", "sys_db_pool_size": 20,
        }
    )  # fmt: skip

    @DBOS.workflow(name="noop")
    async def noop(body: dict[str, Any]) -> None:
        on(body["seq"])

    DBOS.launch()
    DBOS.register_queue(
        "q", worker_concurrency=CONCURRENCY, polling_interval_sec=POLL_SECONDS,
        on_conflict="always_update",
    )  # fmt: skip


if __name__ == "__main__":
    harness.main(DbosPeer())
