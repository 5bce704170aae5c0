"""Unknown outcomes that people decide about: what is held, and what a person says of it.

Who resolves a delivery settles it in the place of its attempt, by the token that was kept: `record`
and the sagas hear of it in the same transaction, and the attempt's own late answer settles nothing.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from itertools import groupby
from random import Random
from typing import TYPE_CHECKING

from outbox import queries_letters, queries_unknown
from outbox.consume import Consumer
from outbox.errors import HandlerMissing
from outbox.outcome import Done, Redriven, Retry
from outbox.settlement import Ended, Settlement
from outbox.telling import readable, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outbox.app import App
    from outbox.queries import Claimed, Conn

NOT_DELIVERED = "resolved_not_delivered"


class Resolution(StrEnum):
    """What a person has found out about a call."""

    DELIVERED = "delivered"
    NOT_DELIVERED = "not-delivered"


async def resolve(  # noqa: PLR0913 - the terms of one act, all named
    conn: Conn,
    app: App,
    delivery_ids: Sequence[int],
    resolution: Resolution,
    *,
    actor: str,
    why: str | None = None,
) -> set[int]:
    """Settle unknown deliveries as a person found out; those that were held.

    Delivered: they are done. Not delivered: they are due again, the attempt spent. One transaction
    for all. Raises `HandlerMissing` where `app` could not tell a handler's tables, `TermInvalid`
    where nobody acts.
    """
    async with conn.transaction():
        held = await queries_unknown.lock_unknown(conn, delivery_ids)
        refuse_strangers(app, [handler for handler, _ in held])
        if not held:
            return set()
        operation_id = await queries_letters.insert_operation(
            conn, actor=actor, action="resolve", why=why, found=len(held),
            selection={"delivery_ids": list(delivery_ids), "as": resolution.value},
            now=app.clock.sql_now(),
        )  # fmt: skip
        await queries_unknown.close_questions(conn, [row.id for _, row in held])
        settled: set[int] = set()
        for handler, rows in groupby(sorted(held, key=lambda one: one[0]), lambda one: one[0]):
            outcome: Done | Retry = Done()
            if resolution is Resolution.NOT_DELIVERED:
                outcome = Retry(timedelta(0), NOT_DELIVERED)
            settlement = Settlement(
                app, app.handlers[handler], relay=f"operation:{operation_id}", clock=app.clock
            )
            ended = [ended_as(app, handler, row, outcome) for _, row in rows]
            settled |= await settlement.settle_inside(conn, ended)
        return settled


async def resend(
    conn: Conn, app: App, delivery_ids: Sequence[int], *, actor: str, why: str | None = None
) -> list[int]:
    """Send unknown deliveries once more, knowing that they may then arrive twice; which ones.

    Raises `HandlerMissing` and `TermInvalid`.
    """
    async with conn.transaction():
        held = await queries_unknown.lock_unknown(conn, delivery_ids)
        refuse_strangers(app, [handler for handler, _ in held])
        if not held:
            return []
        now = app.clock.sql_now()
        operation_id = await queries_letters.insert_operation(
            conn, actor=actor, action="resend", why=why, found=len(held), now=now,
            selection={"delivery_ids": list(delivery_ids)},
        )  # fmt: skip
        await queries_unknown.close_questions(conn, [row.id for _, row in held])
        rows = await queries_unknown.resend_held(
            conn, ids=[row.id for _, row in held], actor=actor, operation_id=operation_id, now=now
        )
        await tell(conn, app, rows, Redriven(actor))
        return [row.id for row in rows]


def refuse_strangers(app: App, handlers: Sequence[str]) -> None:
    """Raise `HandlerMissing` if `app` lacks one of them: its tables would not be told."""
    for name in handlers:
        if name not in app.handlers:
            raise HandlerMissing(name, app.name)


def ended_as(app: App, handler: str, row: Claimed, outcome: Done | Retry) -> Ended:
    """The end of the attempt that `row` stands for, as somebody else knows it."""
    assert row.lease_token is not None, "an unknown delivery keeps its token"
    consumer = Consumer(app, app.handlers[handler], app.clock, Random())  # noqa: S311 - asked for nothing here
    return Ended(row, row.lease_token, readable(app, row), consumer.attempt(row), outcome)
