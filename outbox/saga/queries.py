"""The statements of sagas as typed functions; the transaction is the caller's."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row, dict_row, tuple_row

from outbox.queries import Decided
from outbox.queries_letters import decided
from outbox.saga.store import Origin, StoredSaga
from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from outbox.queries import Conn, Now
    from outbox.saga.store import Change, Transition

START_SAGAS = load("outbox", "start_sagas")
LOCK_SAGAS = load("outbox", "lock_sagas")
STORE_SAGAS = load("outbox", "store_sagas")
APPEND_TRANSITIONS = load("outbox", "append_transitions")
FIND_ORIGINS = load("outbox", "find_origins")
WITHDRAW_DELIVERIES = load("outbox", "withdraw_deliveries")
REVOKE_LETTERS = load("outbox", "revoke_letters")
REVOKE_DELIVERIES = load("outbox", "revoke_deliveries")
LIST_PUBLISHED = load("outbox", "list_published")
LIST_SAGAS = load("outbox", "list_sagas")
SHOW_SAGA = load("outbox", "show_saga")
LIST_TRANSITIONS = load("outbox", "list_transitions")


async def start_sagas(
    conn: Conn, *, name: str, states: Mapping[str, str], state_version: int, now: Now
) -> list[StoredSaga]:
    """Make the instances of keys that have none open; those made."""
    params = {
        "name": name, "keys": list(states), "states": list(states.values()),
        "state_version": state_version, "now": now,
    }  # fmt: skip
    async with conn.cursor(row_factory=class_row(StoredSaga)) as cursor:
        await cursor.execute(START_SAGAS, params)
        return await cursor.fetchall()


async def lock_sagas(conn: Conn, *, name: str, keys: Sequence[str]) -> list[StoredSaga]:
    """The open instances of `keys`, locked until the transaction ends."""
    async with conn.cursor(row_factory=class_row(StoredSaga)) as cursor:
        await cursor.execute(LOCK_SAGAS, {"name": name, "keys": list(keys)})
        return await cursor.fetchall()


async def store_sagas(conn: Conn, changes: Sequence[Change], *, now: Now) -> int:
    """Store next versions; how many were still at the version they are said to have had."""
    params = {
        "ids": [one.saga_id for one in changes],
        "versions_before": [one.version_before for one in changes],
        "versions": [one.version for one in changes],
        "states": [one.state for one in changes],
        "state_versions": [one.state_version for one in changes],
        "timers": [json.dumps(dict(one.timers)) for one in changes],
        "endeds": [one.ended for one in changes],
        "parked_whys": [one.parked_why for one in changes],
        "now": now,
    }
    return (await conn.execute(STORE_SAGAS, params)).rowcount


async def append_transitions(conn: Conn, transitions: Sequence[Transition], *, now: Now) -> None:
    """Add lines to timelines."""
    rows = json.dumps([asdict(one) for one in transitions])
    await conn.execute(APPEND_TRANSITIONS, {"transitions": rows, "now": now})


async def find_origins(conn: Conn, message_ids: Sequence[int]) -> dict[int, Origin]:
    """Which instances published these messages, where one did."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(FIND_ORIGINS, {"message_ids": list(message_ids)})
        return {row[0]: Origin(*row[1:]) for row in await cursor.fetchall()}


async def withdraw_deliveries(
    conn: Conn, *, message_ids: Sequence[int], reason: str, now: Now
) -> list[Decided]:
    """Close what has not begun of these messages, and mark their dead letters; what they were."""
    params = {"message_ids": list(message_ids), "reason": reason, "now": now}
    return await decided(conn, WITHDRAW_DELIVERIES, params)


async def revoke_messages(
    conn: Conn, *, message_ids: Sequence[int], reason: str, now: Now
) -> tuple[list[Decided], datetime | None]:
    """Close whatever could still run of these messages; what it was, and until when it may fly."""
    params = {"message_ids": list(message_ids), "reason": reason, "now": now}
    revoked = await decided(conn, REVOKE_LETTERS, params)
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(REVOKE_DELIVERIES, params)
        rows: list[dict[str, Any]] = await cursor.fetchall()
    flying = [row.pop("flies_until") for row in rows]
    revoked += [Decided(**row) for row in rows]
    revoked += await decided(conn, REVOKE_LETTERS, params)  # what died while it was waited for
    return revoked, max((at for at in flying if at is not None), default=None)


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
