"""Statements about dead letters, redrives and the audit; the transaction is the caller's."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row, dict_row, tuple_row

from outbox.errors import TermInvalid
from outbox.queries import Decided
from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from outbox.queries import Conn, Now

INSERT_OPERATION = load("outbox", "insert_operation")
COUNT_LETTERS = load("outbox", "count_letters")
MARK_LETTERS = load("outbox", "mark_letters")
UNMARK_LETTERS = load("outbox", "unmark_letters")
RAISE_LETTERS = load("outbox", "raise_letters")
DISMISS_LETTERS = load("outbox", "dismiss_letters")
START_REDRIVE = load("outbox", "start_redrive")
LOCK_REDRIVE = load("outbox", "lock_redrive")
NOTE_REDRIVE = load("outbox", "note_redrive")
LIST_REDRIVES = load("outbox", "list_redrives")
LIST_DEAD = load("outbox", "list_dead")
LIST_GROUPS = load("outbox", "list_groups")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which dead letters: all that fit every part that is given; nothing given means all."""

    delivery_ids: tuple[int, ...] | None = None
    failure_group: str | None = None
    handler: str | None = None
    key: str | None = None
    since: datetime | None = None

    def params(self) -> dict[str, Any]:
        """The parameters of the statements that select."""
        ids = self.delivery_ids
        return asdict(self) | {"delivery_ids": None if ids is None else list(ids)}

    def as_json(self) -> dict[str, Any]:
        """What was given, for the audit."""
        given = {name: value for name, value in self.params().items() if value is not None}
        return given | ({"since": self.since.isoformat()} if self.since is not None else {})


@dataclass(frozen=True, slots=True)
class LetterCount:
    """One handler's letters of a selection: what may be redriven, and what is refused, and why."""

    handler: str
    ready: int
    withdrawn: int
    under_redrive: int


@dataclass(frozen=True, slots=True)
class RedriveState:
    """A redrive, locked. `canary_state` is `waiting`, `dead`, or the canary's last outcome."""

    operation_id: int
    canary: bool
    canary_id: int | None
    pace: int | None
    next_due_at: datetime | None
    released: int
    actor: str
    now: datetime
    has_more: bool
    canary_state: str | None


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Letters that failed in the same way, as they are now; `sample_delivery_id` is the latest."""

    failure_group: str
    letters: int
    first_seen: datetime
    last_seen: datetime
    sample_delivery_id: int
    handler: str
    reason: str
    error_type: str | None
    sqlstate: str | None
    frame: str | None


async def insert_operation(  # noqa: PLR0913 - the columns of one row
    conn: Conn,
    *,
    actor: str,
    action: str,
    why: str | None,
    selection: Mapping[str, Any],
    found: int,
    now: Now,
) -> int:
    """Append an act to the audit; its id. Raises `TermInvalid` where nobody acts."""
    if not actor.strip():
        raise TermInvalid("actor", f"is {actor!r}; say who acts, the audit keeps it")
    params = {
        "actor": actor, "action": action, "why": why, "selection": json.dumps(dict(selection)),
        "found": found, "now": now,
    }  # fmt: skip
    return int(await _value(conn, INSERT_OPERATION, params))


async def count_letters(conn: Conn, selection: Selection) -> list[LetterCount]:
    """How many letters a redrive of `selection` would take, by handler."""
    async with conn.cursor(row_factory=class_row(LetterCount)) as cursor:
        await cursor.execute(COUNT_LETTERS, selection.params())
        return await cursor.fetchall()


async def mark_letters(
    conn: Conn, selection: Selection, *, operation_id: int, handlers: Sequence[str]
) -> int:
    """Give what may be redriven of `selection` to a redrive; how many."""
    params = {**selection.params(), "operation_id": operation_id, "handlers": list(handlers)}
    return int(await _value(conn, MARK_LETTERS, params))


async def unmark_letters(conn: Conn, operation_id: int) -> int:
    """Take what is left out of a redrive; how many."""
    return (await conn.execute(UNMARK_LETTERS, {"operation_id": operation_id})).rowcount


async def start_redrive(
    conn: Conn, *, operation_id: int, canary: bool, pace: int | None, now: Now
) -> None:
    """Note a redrive whose letters are marked."""
    params = {"operation_id": operation_id, "canary": canary, "pace": pace, "now": now}
    await conn.execute(START_REDRIVE, params)


async def lock_redrive(conn: Conn, operation_id: int, *, now: Now) -> RedriveState | None:
    """A redrive under way, locked; None when it has ended or another process has it."""
    async with conn.cursor(row_factory=class_row(RedriveState)) as cursor:
        await cursor.execute(LOCK_REDRIVE, {"operation_id": operation_id, "now": now})
        return await cursor.fetchone()


async def raise_letters(  # noqa: PLR0913 - the terms of one step
    conn: Conn,
    state: RedriveState,
    *,
    handlers: Sequence[str],
    blocking: Sequence[str],
    limit: int,
    start_at: datetime,
    now: Now,
) -> list[Decided]:
    """Make up to `limit` letters of a redrive deliveries again, paced from `start_at` on."""
    params = {
        "operation_id": state.operation_id, "handlers": list(handlers),
        "blocking": list(blocking), "limit": limit,
        "start_at": start_at, "pace": state.pace or limit, "actor": state.actor, "now": now,
    }  # fmt: skip
    return await decided(conn, RAISE_LETTERS, params)


async def note_redrive(conn: Conn, operation_id: int, *, now: Now, **noted: Any) -> None:
    """Write down how far a redrive has come; what is not given stays."""
    nothing = {"canary_id": None, "canary_message_id": None, "next_due_at": None, "released": 0,
               "ended_as": None}  # fmt: skip
    await conn.execute(NOTE_REDRIVE, nothing | noted | {"operation_id": operation_id, "now": now})


async def dismiss_letters(
    conn: Conn, selection: Selection, *, operation_id: int, handlers: Sequence[str], now: Now
) -> list[Decided]:
    """Close the letters of `selection` for good; what they were."""
    params = {
        **selection.params(), "operation_id": operation_id, "handlers": list(handlers), "now": now,
    }  # fmt: skip
    return await decided(conn, DISMISS_LETTERS, params)


async def list_redrives(conn: Conn) -> list[dict[str, Any]]:
    """Redrives under way."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(LIST_REDRIVES)
        return await cursor.fetchall()


async def list_dead(conn: Conn, selection: Selection, *, limit: int) -> list[dict[str, Any]]:
    """Dead letters of `selection`, the latest first."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(LIST_DEAD, {**selection.params(), "limit": limit})
        return await cursor.fetchall()


async def list_groups(conn: Conn, *, handler: str | None, limit: int) -> list[FailureGroup]:
    """Failure groups, the biggest first."""
    async with conn.cursor(row_factory=class_row(FailureGroup)) as cursor:
        await cursor.execute(LIST_GROUPS, {"handler": handler, "limit": limit})
        return await cursor.fetchall()


async def decided(conn: Conn, statement: Any, params: Mapping[str, Any]) -> list[Decided]:
    """Run a statement that returns deliveries it has decided about."""
    async with conn.cursor(row_factory=class_row(Decided)) as cursor:
        await cursor.execute(statement, params)
        return await cursor.fetchall()


async def _value(conn: Conn, statement: Any, params: Mapping[str, Any]) -> Any:
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(statement, params)
        row = await cursor.fetchone()
    assert row is not None, "the statement returns one row"
    return row[0]
