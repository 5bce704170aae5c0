"""awa-pg: a Rust runtime with Python handlers, one queue, its queue storage engine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from awa import AsyncClient

from bench.peers import harness

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

WORKERS, POLL_MS = harness.setting("CONCURRENCY", 1024), 50
PUBLISHED_AT_ONCE = 1_000


@dataclass
class Noop:
    """The payload, as it wants it."""

    seq: int
    order_id: int
    customer: str
    amount: str
    note: str


class AwaPeer:
    """One client."""

    uvloop = True
    settings = f"start([('q', {WORKERS})], poll_interval_ms={POLL_MS}), uvloop, max_connections=20"
    bulk_how = f"AsyncClient.enqueue_many_copy, {PUBLISHED_AT_ONCE} a call"

    def __init__(self) -> None:
        self._client: Any = None

    async def setup(self) -> None:
        """Its tables, those of its newer storage engine."""
        client = _client()
        await client.migrate()
        await client.install_queue_storage(schema="awa", reset=False)

    async def fill(self, count: int) -> None:
        """In bulk."""
        client = _client()
        for begin in range(0, count, PUBLISHED_AT_ONCE):
            numbers = range(begin, min(begin + PUBLISHED_AT_ONCE, count))
            jobs = [Noop(**harness.payload(number)) for number in numbers]
            await client.enqueue_many_copy(jobs, queue="q")

    async def opener(self) -> Callable[[int], Awaitable[Any]]:
        """One job a call."""
        client = _client()

        async def one(number: int) -> None:
            await client.insert(Noop(**harness.payload(number)), queue="q")

        return one

    async def remaining(self) -> int:
        """How many wait or run, as it counts itself."""
        stats = [one for one in await self._client.queue_stats() if one.queue == "q"]
        return sum(one.available + one.running for one in stats)

    async def work(self, on: Callable[[int], Any]) -> None:
        """Its worker."""
        self._client = client = _client()

        @client.task(Noop, queue="q")
        async def noop(job: Any) -> None:
            on(job.args.seq)

        await client.start([("q", WORKERS)], poll_interval_ms=POLL_MS)
        await asyncio.Event().wait()


def _client() -> Any:
    return AsyncClient(harness.DSN, max_connections=20)


if __name__ == "__main__":
    harness.main(AwaPeer())
