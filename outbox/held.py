"""Held batches: claim, effect and settlement of a DATABASE handler in one transaction.

Its row locks are the lease and the fence (P3): nobody else sees the deliveries as free, and a
crash leaves nothing of claim or effect behind. A note of the batch, committed on another connection
before the first is tried, is what a crash does leave, so that a message that kills its worker is
found out. Only backlogs are worked off so, and only what has no order; a batch of which one did not
end well is rolled back, leased, and run one by one.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import structlog

from outbox import database, queries
from outbox.crash_points import CrashPoint, reach
from outbox.settlement import LeaseLost, facts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from outbox.lane import Lane
    from outbox.queries import Claimed, ClaimTerms, Conn

log = structlog.get_logger("outbox")


class HeldBatch:
    """Deliveries locked by an open transaction. Whoever gets one must `run` it."""

    def __init__(
        self,
        lane: Lane,
        terms: ClaimTerms,
        rows: Sequence[Claimed],
        open_: AsyncExitStack,
        conn: Conn,
    ) -> None:
        self._lane, self._terms, self.rows, self._open, self._conn = lane, terms, rows, open_, conn
        self.in_flight = len(rows)
        self.freed: Callable[[], None] | None = None  # all end together, with the batch itself

    @classmethod
    async def claim(cls, lane: Lane, limit: int) -> HeldBatch | None:
        """Lock a batch; None when nothing is due."""
        async with AsyncExitStack() as stack:
            conn = await stack.enter_async_context(lane.places.connection())
            await stack.enter_async_context(conn.transaction())
            terms, rows = await lane.claims.claim_held(conn, limit)
            lane.meter.claim(lane.handler.name, len(rows), limit)
            if not rows:
                return None
            return cls(lane, terms, rows, stack.pop_all(), conn)

    async def run(self) -> None:
        """Try and settle all of it; what of it could not be, one by one under leases."""
        lane, ids = self._lane, [row.id for row in self.rows]
        try:
            async with self._open:
                async with lane.pool.connection() as other:
                    await queries.note_batch(other, self._terms, ids)
                reach(CrashPoint.AFTER_CLAIM, lane.handler.name)
                await self._work()
        except database.BatchFailed:
            pass
        except Exception as error:  # noqa: BLE001 - rolled back; each is tried alone and tells by itself
            if not isinstance(error, LeaseLost):
                log.warning("delivery.batch_failed", handler=lane.handler.name, **facts_of(error))
        else:
            reach(CrashPoint.AFTER_SETTLE, lane.handler.name)
            return
        async with lane.pool.connection() as conn:
            rows = await queries.lease_ids(conn, self._terms, ids)
        if rows:
            await database.run_leased(lane, rows, starts_by=lane.starts_by(), together=False)

    async def _work(self) -> None:
        lane, conn = self._lane, self._conn
        chains, lying, left = lane.read_chains(self.rows)
        if lying or left:
            raise database.BatchFailed
        batch = [one for chain in chains for one in chain]
        ended = await database.call_each(lane, batch, conn)
        reach(CrashPoint.AFTER_CALL, lane.handler.name)
        held = await lane.settlement.settle_inside(conn, ended, locked=True)
        if len(held) != len(ended):
            raise LeaseLost
        if len(ended) < len(batch):
            lane.claims.look_everywhere()  # the rest is free again, below the low-water mark
        reach(CrashPoint.BEFORE_SETTLE_COMMIT, lane.handler.name)
