"""What leases that ran out mean: unknown calls, poison, and settlements that `record` refuses.

All of a handler are decided in one transaction. Where its `record` refuses one of them, each is
decided alone, and the refused one is held: it blocks nobody, repeats nothing and waits, visible,
for a person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from outbox import queries, queries_tickets
from outbox.settlement import facts_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from outbox.lane import Lane
    from outbox.queries import Claimed, Conn

log = structlog.get_logger("outbox")

REFUSED = "record_refused"
"""Why a delivery is held whose settlement its handler's `record` does not let through."""

OUTAGES = (psycopg.OperationalError, PoolTimeout)


async def decide_expired(lane: Lane, conn: Conn) -> None:
    """Say what leases that ran out mean for what is under them."""
    handler, now = lane.handler.name, lane.app.clock.sql_now()
    await lane.settlement.destination.without_breaker(conn)
    await queries_tickets.free_tickets(conn, handler=handler, now=now)
    await queries.mark_suspects(conn, handler=handler, now=now)
    await _decide(lane, conn, _expire_begun)
    await _decide(lane, conn, _bury_poisoned)
    await queries.close_leases(conn, handler=handler, now=now)


async def count_alone(lane: Lane, row: Claimed) -> None:
    """Say what it means that a delivery that was run alone has not been settled by us.

    An outage of the database, or a lease given back, counts nothing: only a worker that died does.
    A `record` that has refused as often as a worker may die ends it as held.
    """
    error = lane.losses.get(row.id)
    async with lane.to_settle() as conn:
        if error is None or isinstance(error, OUTAGES):
            await queries.uncount_alone(conn, ids=[row.id], outage=error is not None)
        else:
            await hold_refused(lane, conn, [row.id], error, alone_min=lane.handler.lone_claims_max)
    lane.losses.pop(row.id, None)  # only now: an outage that goes on asks again


async def hold_refused(
    lane: Lane, conn: Conn, ids: Sequence[int], error: BaseException, *, alone_min: int = 0
) -> set[int]:
    """Hold deliveries whose settlement `record` refuses; it is not asked. The ids held."""
    held = await queries.hold_refused(
        conn, ids=ids, reason=f"{REFUSED}:{type(error).__name__}", alone_min=alone_min,
        relay=lane.relay, now=lane.app.clock.sql_now(),
    )  # fmt: skip
    if held:
        log.error(
            "delivery.record_refused", handler=lane.handler.name, delivery_ids=sorted(held),
            **facts_of(error),
        )  # fmt: skip
    return held


async def _decide(
    lane: Lane,
    conn: Conn,
    decide: Callable[[Lane, Conn, Sequence[int] | None, list[int]], Awaitable[None]],
) -> None:
    seen: list[int] = []
    try:
        async with conn.transaction():
            await decide(lane, conn, None, seen)
    except OUTAGES:
        raise
    except Exception:
        if not seen:
            raise  # not a `record` that refuses one of them
        for one in seen:
            try:
                async with conn.transaction():
                    await decide(lane, conn, [one], [])
            except OUTAGES:
                raise
            except Exception as error:  # noqa: BLE001 - as above
                await hold_refused(lane, conn, [one], error)


async def _expire_begun(lane: Lane, conn: Conn, ids: Sequence[int] | None, seen: list[int]) -> None:
    """Hold (or do what the policy says) what began an ambiguous call and lost its lease."""
    lost = await queries.expire_begun(
        conn, handler=lane.handler.name, relay=lane.relay, ids=ids, now=lane.app.clock.sql_now()
    )
    seen += [row.id for row in lost]
    if lost:
        log.warning("delivery.outcome_unknown", handler=lane.handler.name, count=len(lost))
        await lane.settlement.settle_unknown_expired(conn, lost)


async def _bury_poisoned(
    lane: Lane, conn: Conn, ids: Sequence[int] | None, seen: list[int]
) -> None:
    """Give up what was claimed alone too often and never settled."""
    buried = await queries.bury_poisoned(
        conn, handler=lane.handler.name, relay=lane.relay,
        lone_claims_max=lane.handler.lone_claims_max, ids=ids, now=lane.app.clock.sql_now(),
    )  # fmt: skip
    seen += [row.id for row in buried]
    if buried:
        dead = [row.id for row in buried]
        log.error("delivery.poison", handler=lane.handler.name, delivery_ids=dead)
        await lane.settlement.settle_poisoned(conn, buried)
