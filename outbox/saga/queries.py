"""The statements of sagas as typed functions; the transaction is the caller's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row, dict_row, tuple_row
from psycopg.types.json import Jsonb

from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from outbox.queries import Conn, Now

START_SAGA = load("outbox", "start_saga")
LOCK_SAGA = load("outbox", "lock_saga")
STORE_SAGA = load("outbox", "store_saga")
APPEND_TRANSITION = load("outbox", "append_transition")
WITHDRAW_DELIVERIES = load("outbox", "withdraw_deliveries")
LIST_PUBLISHED = load("outbox", "list_published")
LIST_SAGAS = load("outbox", "list_sagas")
SHOW_SAGA = load("outbox", "show_saga")
LIST_TRANSITIONS = load("outbox", "list_transitions")


@dataclass(frozen=True, slots=True)
class StoredSaga:
    """One instance as stored. `timers` maps names to {generation, message_id, at}."""

    id: int
    name: str
    key: str
    state: str
    state_version: int
    version: int
    timers: dict[str, dict[str, Any]]
    ended_at: datetime | None


async def start_saga(  # noqa: PLR0913 - the columns of one row
    conn: Conn, *, name: str, key: str, state: str, state_version: int, now: Now
) -> int | None:
    """Make the instance of `key`; None when one is open already."""
    params = {"name": name, "key": key, "state": state, "state_version": state_version, "now": now}
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(START_SAGA, params)
        row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def lock_saga(conn: Conn, *, name: str, key: str) -> StoredSaga | None:
    """The open instance of `key`, locked until the transaction ends."""
    async with conn.cursor(row_factory=class_row(StoredSaga)) as cursor:
        await cursor.execute(LOCK_SAGA, {"name": name, "key": key})
        return await cursor.fetchone()


async def store_saga(  # noqa: PLR0913 - the columns of one row
    conn: Conn,
    stored: StoredSaga,
    *,
    state: str,
    state_version: int,
    timers: Mapping[str, Any],
    ended: bool,
    now: Now,
) -> bool:
    """Store the next version; False when the version moved under us."""
    params = {
        "saga_id": stored.id, "version": stored.version, "state": state,
        "state_version": state_version, "timers": Jsonb(dict(timers)), "ended": ended, "now": now,
    }  # fmt: skip
    return (await conn.execute(STORE_SAGA, params)).rowcount > 0


async def append_transition(conn: Conn, **params: Any) -> None:
    """Add one line to the timeline; `change` and `armed` are JSON-able."""
    params["change"], params["armed"] = Jsonb(params["change"]), Jsonb(params["armed"])
    await conn.execute(APPEND_TRANSITION, params)


async def withdraw_deliveries(
    conn: Conn, *, message_ids: Sequence[int], reason: str, now: Now
) -> set[int]:
    """Close what has not begun of these messages; those closed."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(
            WITHDRAW_DELIVERIES, {"message_ids": list(message_ids), "reason": reason, "now": now}
        )
        return {row[0] for row in await cursor.fetchall()}


async def list_published(conn: Conn, *, saga_id: int, topics: Sequence[str]) -> list[int]:
    """Messages of `topics` that this instance has published."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(LIST_PUBLISHED, {"saga_id": saga_id, "topics": list(topics)})
        return [row[0] for row in await cursor.fetchall()]


async def list_sagas(conn: Conn, *, name: str | None, limit: int) -> list[dict[str, Any]]:
    """Instances, the ones changed last first."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(LIST_SAGAS, {"name": name, "limit": limit})
        return await cursor.fetchall()


async def show_saga(conn: Conn, saga_id: int) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """One instance and its timeline; None when there is none."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SHOW_SAGA, {"saga_id": saga_id})
        found = await cursor.fetchone()
        if found is None:
            return None
        await cursor.execute(LIST_TRANSITIONS, {"saga_id": saga_id})
        return found, await cursor.fetchall()
