"""Asking receivers whether a call of unknown outcome happened (policy `probe`).

A question is leased and fenced like a delivery, apart from it: the delivery keeps the token of the
call that is asked about, by which the answer settles it, unless somebody has acted meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

from outbox import queries_unknown
from outbox.consume import is_ours
from outbox.handler import Answer
from outbox.outcome import Done
from outbox.retry import again, reason_of
from outbox.settlement import Ended, facts_of
from outbox.telling import readable

if TYPE_CHECKING:
    from uuid import UUID

    from outbox.handler import Probe
    from outbox.lane import Lane
    from outbox.outcome import Dead, Retry
    from outbox.queries import Claimed

log = structlog.get_logger("outbox")

NOT_DELIVERED = "probe_not_delivered"
NEVER_ANSWERED = "never_answered"


async def ask_due(lane: Lane) -> int:
    """Ask about what is due, as many at once as the handler makes calls; how many."""
    probe = lane.handler.probe
    if probe is None:
        return 0
    await lane.gate.enter()  # a question may be what kills a process, too
    try:
        token = uuid4()
        async with lane.to_settle() as conn:
            claimed = await queries_unknown.claim_questions(
                conn, handler=lane.handler.name, token=token, limit=lane.handler.concurrency,
                lease=lane.handler.lease, now=lane.app.clock.sql_now(),
            )  # fmt: skip
        results = await asyncio.gather(
            *(_ask(lane, probe, row, asked, token) for asked, row in claimed),
            return_exceptions=True,
        )
    finally:
        await lane.gate.leave()
    for result in results:
        if isinstance(result, BaseException):  # its lease runs out, and it is asked again
            log.error("question.failed", handler=lane.handler.name, **facts_of(result))
    return len(claimed)


async def _ask(lane: Lane, probe: Probe, row: Claimed, asked: int, token: UUID) -> None:
    answer, told = Answer.CANNOT_KNOW, NEVER_ANSWERED
    if asked <= probe.asks_max:  # else the last one never came back
        answer, told = await _answer(lane, probe, row)
    log.info(
        "question.answered", handler=lane.handler.name, delivery_id=row.id, asked=asked,
        answer=answer.value, reason=told,
    )  # fmt: skip
    if answer is Answer.CANNOT_KNOW:
        more = asked < probe.asks_max
        ask_at = lane.app.clock.now() + probe.backoff.after(asked + 1) if more else None
        async with lane.to_settle() as conn:
            await queries_unknown.note_answer(conn, row.id, token=token, ask_at=ask_at, answer=told)
        return
    async with lane.to_settle() as conn, conn.transaction():
        if await queries_unknown.close_questions(conn, [row.id], token=token):
            await lane.settlement.settle_inside(conn, [_ended(lane, row, answer)])


async def _answer(lane: Lane, probe: Probe, row: Claimed) -> tuple[Answer, str]:
    """What the receiver says; whatever goes wrong, it could not tell."""
    message, attempt = readable(lane.app, row), lane.consumer.attempt(row)
    try:
        async with asyncio.timeout(lane.handler.timeout.total_seconds()):
            answer = Answer(await probe.ask(message, attempt))
    except asyncio.CancelledError as error:
        if is_ours(error):
            raise
        return Answer.CANNOT_KNOW, "cancelled"
    except Exception as error:  # noqa: BLE001 - here a question ends
        return Answer.CANNOT_KNOW, reason_of(error)
    return answer, answer.value


def _ended(lane: Lane, row: Claimed, answer: Answer) -> Ended:
    """The end of the call that was asked about."""
    assert row.lease_token is not None, "an unknown delivery keeps its token"
    outcome: Done | Retry | Dead = Done()
    attempt = lane.consumer.attempt(row)
    if answer is Answer.NOT_DELIVERED:
        outcome = again(
            NOT_DELIVERED, hint=None, attempt=attempt.number,
            age=lane.app.clock.now() - row.created_at, policy=lane.handler.retry,
            jitter=lane.random.random(),
        )  # fmt: skip
    return Ended(row, row.lease_token, readable(lane.app, row), attempt, outcome)
