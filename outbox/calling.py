"""Batches of a handler that calls out: prepare, note that calls begin, call, settle as they end.

Each attempt is settled soon after its own end and not with the slowest of its batch; what ends
while a settlement is under way shares the next one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from outbox import queries
from outbox.consume import VERSION_WAIT
from outbox.errors import AttemptError
from outbox.handler import Effect
from outbox.lane import token_of
from outbox.outcome import Dead, Done, Retry, Suppressed, Unknown
from outbox.settlement import Ended, facts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outbox.handler import Attempt
    from outbox.lane import Lane
    from outbox.message import Message
    from outbox.queries import Claimed

log = structlog.get_logger("outbox")

_OF_THE_WHOLE_BATCH = (AttemptError, TimeoutError, psycopg.OperationalError, PoolTimeout)

SETTLE_WRITES_MAX = 3
"""How often the end of a call is written down before its lease is left to run out."""


async def run_batch(lane: Lane, rows: Sequence[Claimed], *, starts_by: float) -> None:
    """Run and settle every delivery of `rows`; at most the handler's concurrency of them.

    Calls start until the loop's time is `starts_by`; what is not prepared by then has failed.
    """
    ended: list[Ended] = []
    ready: list[tuple[Claimed, Message]] = []
    for row in rows:
        match lane.read(row):
            case None:
                await lane.give_back([row], wait=VERSION_WAIT)
            case Ended() as end:
                ended.append(end)
            case message:
                ready.append((row, message))
    calls, decided = await _prepare(lane, ready, starts_by)
    await _settle(lane, [*ended, *decided])
    begun = await _begin(lane, calls)
    await _call_and_settle(lane, begun)


async def _prepare(
    lane: Lane, ready: Sequence[tuple[Claimed, Message]], starts_by: float
) -> tuple[list[tuple[Claimed, Message, Attempt]], list[Ended]]:
    """What is to be called, and what is settled without a call.

    A batch that cannot be prepared is prepared one by one, so that one bad message costs its
    neighbours nothing but time.
    """
    items = [(row, message, lane.consumer.attempt(row)) for row, message in ready]
    if lane.handler.prepare is None or not items:
        return items, []
    prepared: Mapping[int, Any]
    try:
        async with (
            asyncio.timeout_at(starts_by),
            lane.pool.connection() as conn,
            conn.transaction(),
        ):
            prepared = await lane.handler.prepare(
                conn, [(message, attempt) for _, message, attempt in items]
            )
    except Exception as error:  # noqa: BLE001 - here these attempts end; nothing has left
        if len(items) == 1 or isinstance(error, _OF_THE_WHOLE_BATCH):
            return [], [lane.consumer.failed_before_call(*item, error) for item in items]
        singly = [await _prepare(lane, [one], starts_by) for one in ready]
        return [call for some, _ in singly for call in some], [
            e for _, some in singly for e in some
        ]
    calls: list[tuple[Claimed, Message, Attempt]] = []
    decided: list[Ended] = []
    for row, message, attempt in items:
        match prepared.get(row.id):
            case (Done() | Suppressed() | Retry() | Dead() | Unknown()) as outcome:
                decided.append(lane.consumer.ended(row, message, attempt, outcome))
            case context:
                calls.append((row, message, lane.consumer.attempt(row, prepared=context)))
    return calls, decided


async def _begin(
    lane: Lane, calls: Sequence[tuple[Claimed, Message, Attempt]]
) -> list[tuple[Claimed, Message, Attempt]]:
    """Commit `begun_at` before an ambiguous call's first byte; give back what may not leave."""
    if lane.handler.effect is not Effect.AMBIGUOUS or not calls:
        return list(calls)
    ids = [row.id for row, _, _ in calls]
    async with lane.pool.connection() as conn:
        begun = await queries.mark_begun(
            conn,
            ids=ids,
            token=token_of(calls[0][0]),
            may_take=lane.handler.timeout,
            now=lane.app.clock.sql_now(),
        )
    if late := sorted(set(ids) - begun):
        log.warning("delivery.not_begun", handler=lane.handler.name, delivery_ids=late)
        await lane.give_back([row for row, _, _ in calls if row.id in late])
    return [call for call in calls if call[0].id in begun]


async def _call_and_settle(lane: Lane, calls: Sequence[tuple[Claimed, Message, Attempt]]) -> None:
    pending = {
        asyncio.ensure_future(lane.consumer.call(row, message, attempt))
        for row, message, attempt in calls
    }
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            await _settle(lane, [call.result() for call in done])
    finally:
        for call in pending:  # only when a settlement failed or we are cancelled
            call.cancel()


async def _settle(lane: Lane, ended: Sequence[Ended]) -> None:
    """Write the ends down; a write that fails is repeated, the call never is.

    What cannot be written together is written one by one; what cannot be written at all loses its
    lease: an ambiguous call becomes unknown, an idempotent one is made again.
    """
    if not ended:
        return
    for writes in range(1, SETTLE_WRITES_MAX + 1):
        try:
            async with lane.pool.connection() as conn:
                await lane.settlement.settle(conn, ended)
        except Exception as error:  # noqa: BLE001 - nobody above could do better
            ids = [end.claimed.id for end in ended]
            log.error(  # noqa: TRY400 - a foreign error's text quotes values
                "delivery.settlement_failed",
                handler=lane.handler.name,
                delivery_ids=ids,
                writes=writes,
                **facts_of(error),
            )
            if len(ended) > 1 and not isinstance(error, (psycopg.OperationalError, PoolTimeout)):
                for end in ended:
                    await _settle(lane, [end])
                return
        else:
            return
