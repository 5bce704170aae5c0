"""A lab on a real database: the engine's own lanes, one after the other, in virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from outbox import queries_cluster
from outbox.consume import decode
from outbox.handler import Effect
from outbox.publication import batches_of
from outbox.publish import receipts_of
from outbox.queries_publish import PUBLISH_MESSAGES, execute_async
from outbox.redrive import Selection, redrive
from outbox.saga.postgres import PostgresStore
from outbox.testing import queries_lab as looks
from outbox.testing.harness import OutboxHarness
from outbox.testing.lab_replies import Crash

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from outbox.app import App
    from outbox.publication import Publication
    from outbox.saga.store import StoredSaga, Transition
    from outbox.testing.lab_memory import MessageRow, ReceiptRow
    from outbox.testing.lab_replies import Replies


class PostgresEngine:
    """Works off an application's deliveries on the database at `dsn`, which is private to it."""

    def __init__(self, app: App, dsn: str, replies: Replies) -> None:
        self.app, self._replies = app, replies
        self.harness = OutboxHarness(app, dsn)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[PostgresEngine]:
        """The engine with its routes registered and its pool open."""
        async with self.harness.relay.opened():
            yield self

    async def run(self) -> int:
        """Work until nothing is due; how many attempts were made."""
        tried = 0
        while moved := sum([await self._pass(name) for name in self.app.handlers]):
            tried += moved
        return tried

    async def publish(self, publications: Sequence[Publication]) -> list[int]:
        """Publish from outside and commit."""
        ids: list[int] = []
        async with self.harness.relay.pool.connection() as conn:
            for params in batches_of(publications, self.app.clock.sql_now()):
                found = await execute_async(conn, PUBLISH_MESSAGES, params)
                batch = publications[len(ids) : len(ids) + len(found[0])]
                ids += [receipt.message_id for receipt in receipts_of(batch, [found])]
        return ids

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresStore]:
        """A store whose writes commit at the end of the block."""
        async with self.harness.relay.pool.connection() as conn, conn.transaction():
            yield PostgresStore(conn, self.app)

    async def next_due(self) -> datetime | None:
        """When something falls due, or a lease runs out, that is not due now."""
        async with self.harness.relay.pool.connection() as conn:
            return await looks.next_due(conn, now=self.app.clock.now())

    async def sagas(self, name: str) -> list[StoredSaga]:
        """Every instance of a saga, in the order of their beginnings."""
        async with self.harness.relay.pool.connection() as conn:
            return await looks.all_sagas(conn, name)

    async def transitions(self, saga_id: int) -> list[Transition]:
        """The timeline of one instance."""
        async with self.harness.relay.pool.connection() as conn:
            return await looks.all_transitions(conn, saga_id)

    async def messages(self) -> list[MessageRow]:
        """Every message, in the order of ids."""
        async with self.harness.relay.pool.connection() as conn:
            return await looks.all_messages(conn)

    async def receipts(self) -> list[ReceiptRow]:
        """Every receipt, in the order of deliveries and then of attempts."""
        async with self.harness.relay.pool.connection() as conn:
            return await looks.all_receipts(conn)

    async def redrive(self, handler: str | None, actor: str) -> int:
        """Give all dead letters (of one handler) a new life; how many."""
        chosen = Selection(handler=handler)
        async with self.harness.relay.pool.connection() as conn:
            return len((await redrive(conn, self.app, chosen, actor=actor)).raised)

    async def _pass(self, name: str) -> int:
        lane = self.harness.lane(name)
        async with self.harness.relay.pool.connection() as conn:
            await queries_cluster.adopt_unrouted(conn)
            await lane.decide_expired(conn)
        crashed = 0
        while self._replies.crashes[name]:
            if not await self._crash_one(name, self._replies.crashes[name][0]):
                break
            self._replies.crash(name)
            crashed += 1
        if self._replies.crashes[name]:
            return crashed  # nothing that it could die of: whoever comes next does
        lane.claims.look_everywhere()
        return crashed + await lane.clean_up() + await lane.run_once()

    async def _crash_one(self, name: str, crash: Crash) -> bool:
        """Take one delivery and leave it where a process that dies would."""
        harness, handler = self.harness, self.app.handlers[name]
        lease = await harness.claim_alone(name)
        if lease is None:
            leases = await harness.claim(name, limit=1)
            if not leases:
                return False
            (lease,) = leases
        if crash is Crash.AFTER_CALL and name not in self.app.sagas:
            lane = harness.lane(name)
            message = decode(self.app, lease.claimed)
            if handler.effect is Effect.AMBIGUOUS:
                await harness.begin(lease)
            attempt = lane.consumer.attempt(lease.claimed)
            with suppress(Exception):  # whatever it was, nobody lived to hear it
                await self._replies.answer(name, message, attempt)
        return True
