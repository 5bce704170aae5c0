"""Batches of a DATABASE handler: effect, receipt and settlement in one transaction (P4).

A batch runs in one transaction as long as every delivery ends well; if one does not, the whole is
rolled back and each is run alone, so that one bad message costs its neighbours nothing but time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
import structlog
from psycopg import Rollback
from psycopg_pool import PoolTimeout

from outbox.consume import VERSION_WAIT
from outbox.outcome import Done, Suppressed
from outbox.settlement import Ended, LeaseLost, facts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outbox.lane import Lane
    from outbox.message import Message
    from outbox.queries import Claimed, Conn

log = structlog.get_logger("outbox")

TOGETHER_SECONDS_MAX = 2.0
"""After this long a transaction over a batch is closed and the rest goes into the next one."""


class _BatchFailed(Exception):
    """One delivery of the batch did not end well; nothing of it may commit."""


async def run_batch(lane: Lane, rows: Sequence[Claimed], *, starts_by: float) -> None:
    """Run and settle the deliveries of `rows`, all of them under the lane's leases.

    What has not started when the loop's time is `starts_by` is given back.
    """
    readable: list[tuple[Claimed, Message]] = []
    lying: list[Ended] = []
    for row in rows:
        match lane.read(row):
            case None:
                await lane.give_back([row], wait=VERSION_WAIT)
            case Ended() as end:
                lying.append(end)
            case message:
                readable.append((row, message))
    if lying:
        async with lane.pool.connection() as conn:
            await lane.settlement.settle(conn, lying)
    loop = asyncio.get_running_loop()
    while len(readable) > 1 and loop.time() < starts_by:
        done = await _run_together(lane, readable)
        if done == 0:  # rolled back: each on its own
            break
        readable = readable[done:]
    while readable and loop.time() < starts_by:
        await _run_alone(lane, *readable.pop(0))
    await lane.give_back([row for row, _ in readable])


async def _run_together(lane: Lane, batch: Sequence[tuple[Claimed, Message]]) -> int:
    """Run a prefix of `batch` in one transaction; its length, or 0 when it was rolled back."""
    loop = asyncio.get_running_loop()
    closes_at = loop.time() + TOGETHER_SECONDS_MAX
    ended: list[Ended] = []
    try:
        async with lane.pool.connection() as conn, conn.transaction():
            for row, message in batch:
                end = await lane.consumer.call(row, message, lane.consumer.attempt(row), conn)
                if not isinstance(end.outcome, Done | Suppressed):
                    raise _BatchFailed
                ended.append(end)
                if loop.time() > closes_at:
                    break
            held = await lane.settlement.settle_inside(conn, ended)
            if len(held) != len(ended):
                raise LeaseLost
    except Exception as error:  # noqa: BLE001 - rolled back; each is tried alone and tells by itself
        if not isinstance(error, _BatchFailed | LeaseLost):
            log.warning("delivery.batch_failed", handler=lane.handler.name, **facts_of(error))
        return 0
    return len(ended)


async def _run_alone(lane: Lane, row: Claimed, message: Message) -> None:
    """Run one delivery in its own transaction; a lost lease or connection leaves nothing behind."""
    try:
        await _run_in_transaction(lane, row, message)
    except LeaseLost:
        log.warning("delivery.lease_lost", handler=lane.handler.name, delivery_id=row.id)
    except (psycopg.OperationalError, PoolTimeout) as error:
        log.error(  # noqa: TRY400 - a foreign error's text quotes values
            "delivery.connection_lost",
            handler=lane.handler.name,
            delivery_id=row.id,
            **facts_of(error),
        )
    except Exception as error:  # noqa: BLE001 - `record` or the commit refused: an attempt ends
        await _settle_failed(lane, row, message, error)


async def _settle_failed(lane: Lane, row: Claimed, message: Message, error: Exception) -> None:
    """Settle an attempt whose own transaction failed; if that fails too, its lease runs out."""
    end = lane.consumer.failed_before_call(row, message, lane.consumer.attempt(row), error)
    try:
        async with lane.pool.connection() as conn:
            await lane.settlement.settle(conn, [end])
    except Exception as again:  # noqa: BLE001 - nobody above could do better
        log.error(  # noqa: TRY400 - a foreign error's text quotes values
            "delivery.settlement_failed",
            handler=lane.handler.name,
            delivery_ids=[row.id],
            **facts_of(again),
        )


async def _run_in_transaction(lane: Lane, row: Claimed, message: Message) -> None:
    async with lane.pool.connection() as conn, conn.transaction():
        end = await _call_in_savepoint(lane, row, message, conn)
        held = await lane.settlement.settle_inside(conn, [end])
        if not held and isinstance(end.outcome, Done | Suppressed):
            raise LeaseLost


async def _call_in_savepoint(lane: Lane, row: Claimed, message: Message, conn: Conn) -> Ended:
    """Only an attempt that ended well keeps what its handler wrote."""
    async with conn.transaction() as savepoint:
        end = await lane.consumer.call(row, message, lane.consumer.attempt(row), conn)
        if not isinstance(end.outcome, Done | Suppressed):
            raise Rollback(savepoint)
    return end
