"""The harness: the engine on a real database, one step at a time, in a time of its own."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Self

from outbox import inspection, queries
from outbox.clock import VirtualClock
from outbox.errors import UsageError
from outbox.lane import token_of
from outbox.publication import Publication, batches_of
from outbox.publish import receipts_of
from outbox.queries_publish import PUBLISH_MESSAGES, execute_async
from outbox.redrive import Selection, redrive
from outbox.relay import Relay
from outbox.saga.reports import UnreadableMessage
from outbox.settlement import Ended
from outbox.testing.crashes import Crashed, at_point
from outbox.testing.published import ANY, Any_, M, Published, Wanted, published_on
from outbox.testing.queries import count_owed, find_lease

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime, timedelta
    from uuid import UUID

    from outbox.app import App
    from outbox.crash_points import CrashPoint
    from outbox.inspection import HandlerCensus
    from outbox.lane import Lane
    from outbox.message import Message
    from outbox.outcome import Outcome
    from outbox.publish import PublishReceipt
    from outbox.queries import Claimed


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to try one delivery, as somebody holds it. `attempt` is 1 for the first try."""

    delivery_id: int
    handler: str
    token: UUID
    until: datetime
    attempt: int
    claimed: Claimed = field(repr=False, compare=False)

    @classmethod
    def of(cls, handler: str, row: Claimed) -> Self:
        """The lease a claimed row stands for."""
        return cls(row.id, handler, token_of(row), row.lease_until, row.attempts + 1, row)


class OutboxHarness:
    """Drives an application's deliveries by hand: claim, settle, crash (by doing nothing), wait.

    The database at `dsn` must be migrated and private to the test. The application must have been
    made with a `VirtualClock`: nothing falls due and no lease runs out but by `advance`. There is
    no jitter unless `random` brings it.
    """

    def __init__(self, app: App, dsn: str, *, random: Random | None = None) -> None:
        if not isinstance(app.clock, VirtualClock):
            problem = "the harness moves time by hand: make the App with clock=VirtualClock(...)"
            raise UsageError(problem)
        self.app, self.clock = app, app.clock
        self.relay = Relay(app, dsn, random=random or NoJitter())

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, app: App, dsn: str, *, random: Random | None = None
    ) -> AsyncIterator[OutboxHarness]:
        """A harness with its routes registered, its pool open and the app's lifespan entered."""
        harness = cls(app, dsn, random=random)
        async with harness.relay.opened():
            yield harness

    async def publish(self, message: Message, **terms: Any) -> PublishReceipt:
        """Publish and commit, at the harness's time. `terms` are those of `outbox.publish`."""
        return (await self.publish_many(Publication(message=message, **terms)))[0]

    async def publish_many(self, *publications: Publication) -> list[PublishReceipt]:
        """Publish all and commit."""
        batches = batches_of(publications, self.clock.sql_now())
        async with self.relay.pool.connection() as conn:
            found = [await execute_async(conn, PUBLISH_MESSAGES, params) for params in batches]
        return receipts_of(publications, found)

    async def claim(self, handler: str, limit: int = 100) -> list[Lease]:
        """Lease up to `limit` due deliveries as a relay would, but no more than one of a key."""
        lane = self.lane(handler)
        lane.claims.look_everywhere()
        rows = await lane.claims.claim(limit, run_max=1)
        return [Lease.of(handler, row) for row in rows]

    async def claim_one(self, handler: str | None = None) -> Lease:
        """Lease exactly one due delivery; `handler` may be left out where there is but one."""
        (lease,) = await self.claim(self._name(handler), limit=1)
        return lease

    async def claim_alone(self, handler: str | None = None) -> Lease | None:
        """Lease one delivery that was taken and not settled, as a relay does with suspects."""
        name = self._name(handler)
        lane = self.lane(name)
        async with self.relay.pool.connection() as conn:
            rows = await lane.claims.claim_alone(conn)
        return Lease.of(name, rows[0]) if rows else None

    async def begin(self, *leases: Lease) -> set[int]:
        """Note that ambiguous calls are about to leave; the deliveries that were still held."""
        begun: set[int] = set()
        async with self.relay.pool.connection() as conn:
            for lease in leases:
                begun |= await queries.mark_begun(
                    conn,
                    ids=[lease.delivery_id],
                    token=lease.token,
                    may_take=self.app.handlers[lease.handler].timeout,
                    now=self.clock.sql_now(),
                )
        return begun

    async def settle(
        self, lease: Lease, outcome: Outcome, error: BaseException | None = None
    ) -> bool:
        """End the attempt `lease` stands for. False: the lease was lost and nothing was written."""
        lane = self.lane(lease.handler)
        message = lane.read(lease.claimed)
        if message is None or isinstance(message, Ended):
            message = UnreadableMessage.model_construct()
        attempt = lane.consumer.attempt(lease.claimed)
        ended = Ended(lease.claimed, lease.token, message, attempt, outcome, error)
        key = lease.claimed.key
        async with self.relay.pool.connection() as conn:
            held = await lane.settlement.settle(conn, [ended], free=[] if key is None else [key])
        return lease.delivery_id in held

    async def give_back(self, *leases: Lease) -> None:
        """Return leases unused."""
        for lease in leases:
            await self.lane(lease.handler).give_back([lease.claimed])

    async def decide_expired(self, handler: str | None = None) -> None:
        """Mark what was lost after it began as unknown, bury what was claimed alone too often."""
        lane = self.lane(self._name(handler))
        async with self.relay.pool.connection() as conn:
            await lane.decide_expired(conn)

    async def redrive(self, *delivery_ids: int, actor: str = "test") -> list[int]:
        """Give dead letters a new life, all of them if none is named; their ids."""
        chosen = Selection(delivery_ids=delivery_ids or None)
        async with self.relay.pool.connection() as conn:
            return list((await redrive(conn, self.app, chosen, actor=actor)).raised)

    async def run_once(self, handler: str | None = None) -> int:
        """Let a handler work off one batch; how many deliveries it had."""
        lane = self.lane(self._name(handler))
        lane.claims.look_everywhere()
        return await lane.run_once()

    async def drain(self) -> int:
        """Let every handler work until nothing is due; how many deliveries were tried."""
        return await self.relay.drain()

    async def assert_published(
        self,
        message_class: type[M],
        fields: Mapping[str, Any] | None = None,
        *,
        key: str | Any_ | None = ANY,
        count: int | None = None,
    ) -> list[Published[M]]:
        """As `outbox.testing.assert_published`, on what is committed."""
        async with self.relay.pool.connection() as conn:
            return await published_on(conn, Wanted(message_class, fields or {}, key), count)

    async def refute_published(
        self,
        message_class: type[Message],
        fields: Mapping[str, Any] | None = None,
        *,
        key: str | Any_ | None = ANY,
    ) -> None:
        """Assert that no such message was published."""
        await self.assert_published(message_class, fields, key=key, count=0)

    @asynccontextmanager
    async def crash_at(
        self,
        point: CrashPoint,
        *,
        handler: str | None = None,
        nth: int = 1,
        always: bool = True,
    ) -> AsyncIterator[None]:
        """Let the block end in a crash at `point`; afterwards the relay has been started again.

        What it had leased stays leased, what it had written in open transactions is gone. If it is
        to happen `always`, a block that never came to the point raises `AssertionError`.
        """
        others = asyncio.all_tasks()
        try:
            with at_point(point, handler=handler, nth=nth):
                yield
        except Crashed:
            late = asyncio.all_tasks() - others
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        else:
            if always:
                raise AssertionError(f"{point} was never reached by {handler or 'any handler'}")

    def advance(self, by: timedelta) -> datetime:
        """Let time pass; the new instant."""
        return self.clock.advance(by)

    async def lease_of(self, delivery_id: int) -> Lease | None:
        """Who holds a delivery; an expired lease counts until somebody acts. None if nobody."""
        async with self.relay.pool.connection() as conn:
            found = await find_lease(conn, delivery_id)
        return None if found is None else Lease.of(*found)

    async def census(self, handler: str | None = None) -> HandlerCensus:
        """How many deliveries of a handler are where."""
        name = self._name(handler)
        async with self.relay.pool.connection() as conn:
            found = await inspection.census(conn, now=self.clock.sql_now())
        (mine,) = [one for one in found if one.handler == name]
        return mine

    async def owed(self, handler: str | None = None) -> int:
        """How many deliveries of a handler the messages and its routes call for, in any state."""
        async with self.relay.pool.connection() as conn:
            return await count_owed(conn, self._name(handler))

    async def receipts(self, delivery_id: int) -> list[Mapping[str, Any]]:
        """The trace of a delivery, oldest first."""
        async with self.relay.pool.connection() as conn:
            return await inspection.receipts(conn, delivery_id)

    def lane(self, handler: str) -> Lane:
        """The lane of a handler, for what the harness has no word for."""
        return self.relay.lanes[handler]

    def _name(self, handler: str | None) -> str:
        if handler is not None:
            return handler
        (only,) = self.app.handlers
        return only


class NoJitter(Random):
    """Randomness that adds nothing: every wait is the policy's own."""

    def random(self) -> float:
        """Nothing."""
        return 0.0
