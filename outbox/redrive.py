"""Giving deliveries another chance, at a person's word. Who may is the application's question.

A redrive is stored: its letters are marked, the act is in the audit, and relays carry it on, so
that it ends whatever becomes of the command that began it. The same transaction tells the handler's
`record`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from outbox import queries_letters
from outbox.errors import TermInvalid
from outbox.handler import AfterDead
from outbox.outcome import Redriven, Withdrawn
from outbox.queries_letters import LetterCount, RedriveState, Selection
from outbox.statements import load
from outbox.telling import tell

if TYPE_CHECKING:
    from outbox.app import App
    from outbox.queries import Conn, Now

MAKE_DUE = load("outbox", "make_due")
MAKE_DELIVERY_DUE = load("outbox", "make_delivery_due")
PAUSE_DESTINATION = load("outbox", "pause_destination")

RAISED_MAX = 1_000
"""How many letters one step of a redrive raises: `record` hears of them in one transaction."""

DISMISSED = "dismissed"

log = structlog.get_logger("outbox")

__all__ = [
    "Redrive", "Selection", "advance", "advance_open", "dismiss", "make_delivery_due", "make_due",
    "redrive", "set_paused",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Redrive:
    """What a redrive has begun, or with `dry_run` would begin.

    `found` are the letters it took, `raised` the deliveries that are due or soon due by now; the
    rest follows by the relays. `counts` tells by handler what it took and what it refused;
    `operation_id` is its row in the audit, None when there was nothing to do.
    """

    operation_id: int | None
    found: int
    raised: tuple[int, ...] = ()
    counts: list[LetterCount] = field(default_factory=list)
    strangers: tuple[str, ...] = ()
    dry_run: bool = False


async def redrive(  # noqa: PLR0913 - the terms of one act, all named
    conn: Conn,
    app: App,
    selection: Selection,
    *,
    actor: str,
    why: str | None = None,
    canary: bool = False,
    pace: int | None = None,
    dry_run: bool = False,
) -> Redrive:
    """Give the dead letters of `selection` a new life, in the caller's transaction.

    With `canary` the first one goes alone, and the rest only after it was done; with `pace` so many
    fall due each second. What was withdrawn is refused, and so is what belongs to handlers that
    `app` does not have (`strangers`): nobody here could tell their tables. Raises `TermInvalid`.
    """
    if pace is not None and pace < 1:
        raise TermInvalid("pace", f"is {pace}; give deliveries per second, 1 or more")
    async with conn.transaction():
        counts = await queries_letters.count_letters(conn, selection)
        strangers = tuple(one.handler for one in counts if one.handler not in app.handlers)
        found = sum(one.ready for one in counts if one.handler in app.handlers)
        if dry_run or not found:
            return Redrive(None, found, (), counts, strangers, dry_run)
        now = app.clock.sql_now()
        operation_id = await queries_letters.insert_operation(
            conn, actor=actor, action="redrive", why=why, found=found, now=now,
            selection=selection.as_json() | {"canary": canary, "pace": pace},
        )  # fmt: skip
        marked = await queries_letters.mark_letters(
            conn, selection, operation_id=operation_id, handlers=list(app.handlers)
        )
        await queries_letters.start_redrive(
            conn, operation_id=operation_id, canary=canary, pace=pace, now=now
        )
        raised = await advance(conn, app, operation_id)
    return Redrive(operation_id, marked, tuple(raised), counts, strangers)


async def advance(conn: Conn, app: App, operation_id: int) -> list[int]:
    """Carry one redrive a step on, as far as its canary allows; the deliveries it raised."""
    async with conn.transaction():
        now = app.clock.sql_now()
        state = await queries_letters.lock_redrive(conn, operation_id, now=now)
        if state is None:
            return []
        if state.next_due_at is None:
            match state.canary_state:
                case "waiting":
                    return []
                case "dead":
                    await _end(conn, state, "canary_failed", now)
                    return []
                case "done" | "suppressed":
                    pass
                case _:  # none yet, or one that was overtaken or taken back and proves nothing
                    return await _raise(conn, app, state, 1, now)
        return await _raise(conn, app, state, RAISED_MAX, now)


async def advance_open(conn: Conn, app: App) -> int:
    """Carry every redrive under way a step on; how many deliveries were raised."""
    return sum(
        [
            len(await advance(conn, app, row["operation_id"]))
            for row in await queries_letters.list_redrives(conn)
        ]
    )


async def _raise(conn: Conn, app: App, state: RedriveState, limit: int, now: Now) -> list[int]:
    is_canary = state.next_due_at is None and limit == 1
    start_at = max(state.next_due_at or state.now, state.now)
    blocking = [one.name for one in app.handlers.values() if one.after_dead is AfterDead.BLOCK]
    rows = await queries_letters.raise_letters(
        conn, state, handlers=list(app.handlers), blocking=blocking, limit=limit,
        start_at=start_at, now=now,
    )  # fmt: skip
    await tell(conn, app, rows, Redriven(state.actor))
    if is_canary and rows:
        await queries_letters.note_redrive(
            conn, state.operation_id, canary_id=rows[0].id, canary_message_id=rows[0].message_id,
            released=1, now=now,
        )  # fmt: skip
    elif rows:
        paced = timedelta(seconds=len(rows) / state.pace) if state.pace else timedelta(0)
        await queries_letters.note_redrive(
            conn, state.operation_id, next_due_at=start_at + paced, released=len(rows), now=now,
        )  # fmt: skip
        if len(rows) < limit:
            await _end_if_empty(conn, state, now)
    else:
        await _end_if_empty(conn, state, now)
    return [row.id for row in rows]


async def _end_if_empty(conn: Conn, state: RedriveState, now: Now) -> None:
    """End a redrive with no letters left; what a program without their handler saw is no end."""
    left = await queries_letters.lock_redrive(conn, state.operation_id, now=now)
    if left is not None and not left.has_more:
        await _end(conn, state, "released", now)


async def _end(conn: Conn, state: RedriveState, ended_as: str, now: Now) -> None:
    kept = await queries_letters.unmark_letters(conn, state.operation_id)
    await queries_letters.note_redrive(conn, state.operation_id, ended_as=ended_as, now=now)
    if ended_as == "canary_failed":
        log.warning(
            "redrive.canary_failed", operation_id=state.operation_id,
            delivery_id=state.canary_id, kept=kept,
        )  # fmt: skip


async def dismiss(  # noqa: PLR0913 - the terms of one act, all named
    conn: Conn,
    app: App,
    selection: Selection,
    *,
    actor: str,
    why: str,
    dry_run: bool = False,
) -> Redrive:
    """Close the dead letters of `selection` for good, in the caller's transaction.

    Messages and receipts stay. `raised` are the letters closed. Raises `TermInvalid`.
    """
    async with conn.transaction():
        counts = await queries_letters.count_letters(conn, selection)
        strangers = tuple(one.handler for one in counts if one.handler not in app.handlers)
        found = sum(
            one.ready + one.withdrawn + one.under_redrive
            for one in counts
            if one.handler in app.handlers
        )
        if dry_run or not found:
            return Redrive(None, found, (), counts, strangers, dry_run)
        now = app.clock.sql_now()
        operation_id = await queries_letters.insert_operation(
            conn, actor=actor, action="dismiss", why=why, found=found, now=now,
            selection=selection.as_json(),
        )  # fmt: skip
        rows = await queries_letters.dismiss_letters(
            conn, selection, operation_id=operation_id, handlers=list(app.handlers), now=now
        )
        await tell(conn, app, rows, Withdrawn(DISMISSED))
    return Redrive(operation_id, found, tuple(row.id for row in rows), counts, strangers)


async def make_due(conn: Conn, *, handler: str, key: str, now: Now = None) -> int:
    """Let what waits under `key` be tried now, its ladder from the start; how many."""
    cursor = await conn.execute(MAKE_DUE, {"handler": handler, "key": key, "now": now})
    return cursor.rowcount


async def make_delivery_due(conn: Conn, *, delivery_id: int, now: Now = None) -> int:
    """The same for one delivery; 0 when it is leased, unknown or gone."""
    cursor = await conn.execute(MAKE_DELIVERY_DUE, {"delivery_id": delivery_id, "now": now})
    return cursor.rowcount


async def set_paused(  # noqa: PLR0913 - who does what to whom, and why
    conn: Conn, *, handler: str, paused: bool, actor: str, why: str, now: Now = None
) -> bool:
    """Pause or resume a handler in every process; False when there is no such handler.

    Who did it and why is appended to the audit in the same transaction; `why` may be empty only for
    a resumption.
    """
    for term, given, needed in (("actor", actor, True), ("why", why, paused)):
        if needed and not given.strip():
            raise TermInvalid(
                term, f"is {given!r}; say who {'pauses' if paused else 'resumes'} {handler} and why"
            )
    params = {"handler": handler, "paused": paused, "actor": actor, "why": why, "now": now}
    async with conn.transaction():
        if (await conn.execute(PAUSE_DESTINATION, params)).rowcount == 0:
            return False
        await queries_letters.insert_operation(
            conn, actor=actor, action="pause" if paused else "resume", why=why or None,
            selection={"handler": handler}, found=1, now=now,
        )  # fmt: skip
    return True
