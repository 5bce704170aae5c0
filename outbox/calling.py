"""Batches of a handler that calls out: prepare, note that calls begin, call, settle as they end.

Each attempt is settled soon after its own end and not with the slowest of its batch; what ends
while a settlement is under way shares the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from outbox import queries
from outbox.consume import CANCELLED, is_ours
from outbox.crash_points import CrashPoint, reach
from outbox.doors import FRESH_SECONDS
from outbox.errors import AttemptError, CredentialsRejected, DestinationHeld, TransientFailure
from outbox.handler import LEASE_MARGIN, Effect
from outbox.lane import keys_of, token_of
from outbox.outcome import Dead, Done, Retry, Suppressed, Unknown
from outbox.settlement import facts_of
from outbox.working_off import end_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from outbox.call_timer import CallTimer
    from outbox.handler import Attempt
    from outbox.lane import Lane
    from outbox.message import Message
    from outbox.queries import Claimed
    from outbox.settlement import Ended

log = structlog.get_logger("outbox")


class Call(NamedTuple):
    """A call to be made."""

    row: Claimed
    message: Message
    attempt: Attempt


_OF_THE_WHOLE_BATCH = (AttemptError, TimeoutError, psycopg.OperationalError, PoolTimeout)

_CALLS_BETWEEN_TURNS = 50

SETTLE_WRITES_MAX = 3
"""How often the end of a call is written down before its lease is left to run out."""


async def run_batch(
    lane: Lane, rows: Sequence[Claimed], *, starts_by: float, over: Callable[[], None]
) -> None:
    """Run and settle every delivery of `rows`; at most the handler's concurrency of them.

    Calls start until the time `starts_by` of the loop; what is not prepared then has failed. `over`
    is called as each call ends.
    """
    chains, lying, left = lane.read_chains(rows)
    ready = [one for chain in chains for one in chain]
    await lane.give_back(left, keep={row.key for row, _ in ready})
    calls, decided = await _prepare(lane, ready, starts_by)
    await _settle(lane, [*lying, *decided])
    begun = await _begin(lane, calls)
    for _ in range(len(rows) - len(begun)):  # what is not called takes no slot
        over()
    lane.pace.spend(len(begun) - len(rows))
    await _Batch(lane, begun, starts_by, over).run()
    if lane.handler.ordered:
        await lane.release(rows)


async def _prepare(
    lane: Lane, ready: Sequence[tuple[Claimed, Message]], starts_by: float
) -> tuple[list[Call], list[Ended]]:
    """What is to be called, and what is settled without a call.

    A batch that cannot be prepared is prepared one by one, so that one bad message costs its
    neighbours nothing but time.
    """
    items = [Call(row, message, lane.consumer.attempt(row)) for row, message in ready]
    if lane.handler.prepare is None or not items:
        return items, []
    prepared: Mapping[int, Any]
    try:
        async with (
            asyncio.timeout_at(starts_by),
            lane.places.connection() as conn,
            conn.transaction(),
        ):
            prepared = await lane.handler.prepare(
                conn, [(message, attempt) for _, message, attempt in items]
            )
    except (Exception, asyncio.CancelledError) as raised:  # here these attempts end; nothing left
        error: Exception = TransientFailure(CANCELLED)
        if isinstance(raised, Exception):
            error = raised
        elif is_ours(raised):
            raise
        if len(items) == 1 or isinstance(error, _OF_THE_WHOLE_BATCH):
            return [], [lane.consumer.failed_before_call(*item, error) for item in items]
        singly = [await _prepare(lane, [one], starts_by) for one in ready]
        return [call for some, _ in singly for call in some], [
            e for _, some in singly for e in some
        ]
    calls: list[Call] = []
    decided: list[Ended] = []
    for row, message, attempt in items:
        match prepared.get(row.id):
            case (Done() | Suppressed() | Retry() | Dead() | Unknown()) as outcome:
                decided.append(lane.consumer.ended(row, message, attempt, outcome))
            case context:
                calls.append(Call(row, message, lane.consumer.attempt(row, prepared=context)))
    return calls, decided


async def _begin(lane: Lane, calls: Sequence[Call]) -> list[Call]:
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
    reach(CrashPoint.AFTER_BEGUN, lane.handler.name)
    if late := sorted(set(ids) - begun):
        log.warning("delivery.not_begun", handler=lane.handler.name, delivery_ids=late)
        await lane.give_back([row for row, _, _ in calls if row.id in late])
    return [call for call in calls if call[0].id in begun]


class _Batch:
    """Calls under way: few tasks take one chain after the other, each end is settled soon.

    A task is added only while the others wait for something: what answers at once needs but one.
    """

    def __init__(
        self, lane: Lane, calls: Sequence[Call], starts_by: float, over: Callable[[], None]
    ) -> None:
        self._lane, self._starts_by, self._call_over = lane, starts_by, over
        self._claimed_at = starts_by - LEASE_MARGIN.total_seconds() / 2
        self._asks_from = self._claimed_at + FRESH_SECONDS
        self._waiting = deque(_chains(calls))
        self._ended: list[Ended] = []
        self._over: list[str] = []
        self._left: list[Claimed] = []
        self._lost: set[str] = set()  # keys of which an end could not be written
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()  # asked once: it asks the system for the process id

    async def run(self) -> None:
        """Make every call and settle it; give back what could not start."""
        tasks: set[asyncio.Task[None]] = set()
        try:
            while self._waiting and len(tasks) < self._lane.handler.concurrency:
                task = asyncio.create_task(self._work())
                task.add_done_callback(lambda _: self._changed.set())
                tasks.add(task)
                await asyncio.sleep(0)
            while self._ended or not all(task.done() for task in tasks):
                await self._changed.wait()
                self._changed.clear()
                await self._settle_ended()
        finally:
            await end_all(tasks)  # only when a settlement failed or we are cancelled
        await asyncio.gather(*tasks)
        await self._lane.give_back(self._left)

    async def _work(self) -> None:
        timer = self._lane.consumer.timer()
        made = 0
        try:
            while self._waiting:
                made += await self._run_chain(self._waiting.popleft(), timer)
                if made >= _CALLS_BETWEEN_TURNS:
                    made = 0
                    await asyncio.sleep(0)  # a handler that never waits lets the others go on
        finally:
            timer.close()

    async def _run_chain(self, chain: Sequence[Call], timer: CallTimer) -> int:
        for place, (row, message, attempt) in enumerate(chain):
            now = self._loop.time()
            late = now >= self._starts_by
            if now >= self._asks_from or self._lane.pace.stopped_at >= self._claimed_at:
                late = late or not await self._lane.pace.may_begin(row)
                late = late or self._loop.time() >= self._starts_by  # the answer may take its time
            if late or row.key in self._lost:
                self._leave(chain[place:])
                break
            end = await self._lane.consumer.call(row, message, attempt, timer)
            reach(CrashPoint.AFTER_CALL, self._lane.handler.name)
            self._ended.append(end)
            if isinstance(end.error, DestinationHeld | CredentialsRejected):
                self._lane.pace.stop_heard()
            self._call_over()
            self._changed.set()
            if self._lane.handler.stops_at(end.outcome):
                self._leave(chain[place + 1 :])
                break
        if chain[0].row.key is not None:
            self._over.append(chain[0].row.key)
        return len(chain)

    def _leave(self, calls: Sequence[Call]) -> None:
        self._lane.pace.spend(-len(calls))
        for call in calls:
            self._left.append(call.row)
            self._call_over()

    async def _settle_ended(self) -> None:
        ended, self._ended = self._ended, []
        over, self._over = self._over, []
        may_end = [end for end in ended if end.claimed.key not in self._lost]
        try:
            self._lost |= await _settle(self._lane, may_end, free=over)
        finally:
            for end in ended:  # from now on the database says so to everybody
                if isinstance(end.error, DestinationHeld | CredentialsRejected):
                    self._lane.pace.stop_told()


def _chains(calls: Sequence[Call]) -> Iterator[list[Call]]:
    """Calls of one key one after the other, any other by itself."""
    for key, group in groupby(calls, key=lambda call: call.row.key):
        if key is None:
            yield from ([call] for call in group)
        else:
            yield list(group)


async def _settle(lane: Lane, ended: Sequence[Ended], *, free: Sequence[str] = ()) -> set[str]:
    """Write the ends down; a write that fails is repeated, the call never is.

    What cannot be written together is written one by one; what cannot be written at all loses its
    lease: an ambiguous call becomes unknown, an idempotent one is made again. Answers the keys of
    those, of which nothing that follows may be written either (P5): it would overtake them.
    """
    if not ended:
        return set()
    for writes in range(1, SETTLE_WRITES_MAX + 1):
        try:
            async with lane.to_settle() as conn:
                await lane.settlement.settle(conn, ended, free=free)
        except Exception as error:  # noqa: BLE001 - nobody above could do better
            ids = [end.claimed.id for end in ended]
            lane.lose(ids, error)
            log.error(  # noqa: TRY400 - a foreign error's text quotes values
                "delivery.settlement_failed",
                handler=lane.handler.name,
                delivery_ids=ids,
                writes=writes,
                **facts_of(error),
            )
            if len(ended) > 1 and not isinstance(error, (psycopg.OperationalError, PoolTimeout)):
                return await _settle_singly(lane, ended)
        else:
            return set()
    return keys_of([end.claimed for end in ended])


async def _settle_singly(lane: Lane, ended: Sequence[Ended]) -> set[str]:
    lost: set[str] = set()
    for end in ended:
        if end.claimed.key not in lost:
            lost |= await _settle(lane, [end])
    return lost
