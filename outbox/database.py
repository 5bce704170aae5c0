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

from outbox.consume import VERSION_WAIT
from outbox.outcome import Done, Suppressed
from outbox.settlement import Ended, LeaseLost

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


async def run_batch(lane: Lane, rows: Sequence[Claimed]) -> None:
    """Run and settle every delivery of `rows`, all of them under the lane's leases."""
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
    while len(readable) > 1:
        done = await _run_together(lane, readable)
        if done == 0:  # rolled back: each on its own
            break
        readable = readable[done:]
    for row, message in readable:
        await _run_alone(lane, row, message)


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
    except (_BatchFailed, LeaseLost, psycopg.Error):
        return 0
    return len(ended)


async def _run_alone(lane: Lane, row: Claimed, message: Message) -> None:
    """Run one delivery in a transaction of its own; a lost lease or connection leaves nothing behind."""
    try:
        await _run_in_transaction(lane, row, message)
    except LeaseLost:
        log.warning("delivery.lease_lost", handler=lane.handler.name, delivery_id=row.id)
    except psycopg.OperationalError:
        log.exception("delivery.connection_lost", handler=lane.handler.name, delivery_id=row.id)
    except psycopg.Error as error:  # the commit itself was refused, by a deferred constraint say
        end = lane.consumer.failed_before_call(row, message, lane.consumer.attempt(row), error)
        async with lane.pool.connection() as conn:
            await lane.settlement.settle(conn, [end])


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
