"""Batches of a DATABASE handler: effect, receipt and settlement in one transaction (P4).

A batch runs in one transaction as long as every delivery ends well; if one does not, the whole is
rolled back and each is run alone, so that one bad message costs its neighbours nothing but time.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

import psycopg
import structlog
from psycopg import Rollback
from psycopg_pool import PoolTimeout

from outbox import queries
from outbox.consume import is_ours
from outbox.crash_points import CrashPoint, reach
from outbox.lane import keys_of, token_of
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


class BatchFailed(Exception):
    """One delivery of the batch did not end well; nothing of it may commit."""


async def run_leased(
    lane: Lane, rows: Sequence[Claimed], *, starts_by: float, together: bool = True
) -> bool:
    """Run and settle the deliveries of `rows`, all of them under the lane's leases.

    True: they were rolled back and no time was left; whoever gets them next runs each on its own.

    What has not started when the loop's time is `starts_by` is given back, and so is what follows,
    in its key, on a delivery that must be tried again. `together` False: each on its own.
    """
    chains, lying, left = lane.read_chains(rows)
    readable = [one for chain in chains for one in chain]
    await lane.give_back(left, keep={row.key for row, _ in readable})
    if lying:
        async with lane.to_settle() as conn:
            await lane.settlement.settle(conn, lying)
    loop = asyncio.get_running_loop()
    released = too_late = False
    while together and len(readable) > 1 and loop.time() < starts_by:
        done = await _run_together(lane, readable, keys_of(rows))
        if done == 0:  # rolled back: each on its own
            too_late = loop.time() >= starts_by
            break
        readable = readable[done:]
        released = not readable
    await _run_singly(lane, readable, starts_by)
    if lane.handler.ordered and not released:
        await lane.release(rows)
    return too_late


async def call_each(
    lane: Lane, batch: Sequence[tuple[Claimed, Message]], conn: Conn
) -> list[Ended]:
    """Try a prefix of `batch` in one transaction, all of it where there is time.

    Raises `BatchFailed` where one did not end well.
    """
    if lane.handler.call_many is not None:
        return await _call_many(lane, batch, conn)
    loop = asyncio.get_running_loop()
    closes_at = loop.time() + TOGETHER_SECONDS_MAX
    ended: list[Ended] = []
    consumer, timer = lane.consumer, lane.consumer.timer()
    try:
        for row, message in batch:
            end = await consumer.call(row, message, consumer.attempt(row), timer, conn)
            if not isinstance(end.outcome, Done | Suppressed):
                raise BatchFailed
            ended.append(end)
            if loop.time() > closes_at:
                break
    finally:
        timer.close()
    return ended


async def _call_many(
    lane: Lane, batch: Sequence[tuple[Claimed, Message]], conn: Conn
) -> list[Ended]:
    assert lane.handler.call_many is not None, "asked only where there is one"
    items = [(row, message, lane.consumer.attempt(row)) for row, message in batch]
    spans, rows = lane.consumer.spans, [row for row, _, _ in items]
    began = time.monotonic()
    try:
        async with asyncio.timeout(lane.handler.timeout.total_seconds()):
            with nullcontext() if spans is None else spans.batch(rows, lane.handler.name):
                outcomes = await lane.handler.call_many([item[1:] for item in items], conn)
    except asyncio.CancelledError as error:
        if is_ours(error):
            raise
        raise BatchFailed from error
    each_ms = int((time.monotonic() - began) * 1000 / len(items))
    ended: list[Ended] = []
    for row, message, attempt in items:
        match outcomes.get(row.id):
            case (Done() | Suppressed()) as outcome:
                token = token_of(row)
                ended.append(
                    Ended(row, token, message, attempt, outcome, None, each_ms, called=True)
                )
            case _:
                raise BatchFailed
    return ended


async def _run_singly(
    lane: Lane, readable: Sequence[tuple[Claimed, Message]], starts_by: float
) -> None:
    """Run each in a transaction of its own; a key stops at what must be tried again."""
    stuck: set[str] = set()
    unused: list[Claimed] = []
    for place, (row, message) in enumerate(readable):
        if row.key in stuck:
            unused.append(row)
            continue
        if asyncio.get_running_loop().time() >= starts_by:
            unused += [row for row, _ in readable[place:]]
            break
        goes_on = await _run_alone(lane, row, message)
        if row.key is not None and not goes_on:
            stuck.add(row.key)
    await lane.give_back(unused)


async def _run_together(
    lane: Lane, batch: Sequence[tuple[Claimed, Message]], keys: set[str]
) -> int:
    """Run a prefix of `batch` in one transaction; its length, or 0 when it was rolled back.

    The last one frees `keys`: those of the prefixes before it too.
    """
    try:
        async with lane.places.connection() as conn, conn.transaction():
            ended = await call_each(lane, batch, conn)
            reach(CrashPoint.AFTER_CALL, lane.handler.name)
            held = await lane.settlement.settle_inside(conn, ended)
            if len(held) != len(ended):
                raise LeaseLost
            if keys and len(ended) == len(batch):
                await queries.release_keys(
                    conn, handler=lane.handler.name, token=token_of(batch[0][0]), keys=sorted(keys)
                )
            reach(CrashPoint.BEFORE_SETTLE_COMMIT, lane.handler.name)
    except Exception as error:  # noqa: BLE001 - rolled back; each is tried alone and tells by itself
        if not isinstance(error, BatchFailed | LeaseLost):
            log.warning("delivery.batch_failed", handler=lane.handler.name, **facts_of(error))
        return 0
    reach(CrashPoint.AFTER_SETTLE, lane.handler.name)
    return len(ended)


async def _run_alone(lane: Lane, row: Claimed, message: Message) -> bool:
    """Run one delivery in its own transaction; whether its key may go on.

    A lost lease or connection leaves nothing behind.
    """
    try:
        return await _run_in_transaction(lane, row, message)
    except LeaseLost:
        log.warning("delivery.lease_lost", handler=lane.handler.name, delivery_id=row.id)
    except (psycopg.OperationalError, PoolTimeout) as error:
        lane.lose([row.id], error)
        log.error(  # noqa: TRY400 - a foreign error's text quotes values
            "delivery.connection_lost",
            handler=lane.handler.name,
            delivery_id=row.id,
            **facts_of(error),
        )
    except Exception as error:  # noqa: BLE001 - `record` or the commit refused: an attempt ends
        await _settle_failed(lane, row, message, error)
    return False


async def _settle_failed(lane: Lane, row: Claimed, message: Message, error: Exception) -> None:
    """Settle an attempt whose own transaction failed."""
    attempt = lane.consumer.attempt(row)
    await _settle_apart(lane, lane.consumer.failed_before_call(row, message, attempt, error))


async def _settle_apart(lane: Lane, end: Ended) -> bool:
    """Settle what was rolled back; whether it was still ours.

    If that fails too, its lease runs out.
    """
    row = end.claimed
    try:
        async with lane.to_settle() as conn:
            return bool(await lane.settlement.settle(conn, [end]))
    except Exception as again:  # noqa: BLE001 - nobody above could do better
        lane.lose([row.id], again)
        log.error(  # noqa: TRY400 - a foreign error's text quotes values
            "delivery.settlement_failed",
            handler=lane.handler.name,
            delivery_ids=[row.id],
            **facts_of(again),
        )
        return False


async def _run_in_transaction(lane: Lane, row: Claimed, message: Message) -> bool:
    """Only an attempt that ended well keeps what its handler wrote; any other is settled apart."""
    timer = lane.consumer.timer()
    async with lane.places.connection() as conn, conn.transaction() as whole:
        try:
            end = await lane.consumer.call(row, message, lane.consumer.attempt(row), timer, conn)
        finally:
            timer.close()
        reach(CrashPoint.AFTER_CALL, lane.handler.name)
        if not isinstance(end.outcome, Done | Suppressed):
            raise Rollback(whole)
        if not await lane.settlement.settle_inside(conn, [end]):
            raise LeaseLost
        reach(CrashPoint.BEFORE_SETTLE_COMMIT, lane.handler.name)
    if not isinstance(end.outcome, Done | Suppressed):
        return await _settle_apart(lane, end) and not lane.handler.stops_at(end.outcome)
    reach(CrashPoint.AFTER_SETTLE, lane.handler.name)
    return not lane.handler.stops_at(end.outcome)
