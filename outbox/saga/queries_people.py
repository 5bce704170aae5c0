"""What people and start-up ask of sagas; the transaction is the caller's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row, dict_row

from outbox.saga.store import StoredSaga
from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outbox.queries import Conn

COUNT_STORED_SAGAS = load("outbox", "count_stored_sagas")
SAMPLE_SAGAS = load("outbox", "sample_sagas")
TRACE_PUBLISHED = load("outbox", "trace_published")


@dataclass(frozen=True, slots=True)
class StoredCount:
    """How many open instances of a saga stand at a state version, with or without a timer."""

    name: str
    state_version: int
    timer: str | None
    instances: int
    first_id: int


async def count_stored_sagas(conn: Conn, names: Sequence[str]) -> list[StoredCount]:
    """Open instances of these sagas by version and armed timer."""
    async with conn.cursor(row_factory=class_row(StoredCount)) as cursor:
        await cursor.execute(COUNT_STORED_SAGAS, {"names": list(names)})
        return await cursor.fetchall()


async def sample_sagas(conn: Conn, *, limit: int) -> list[StoredSaga]:
    """Open instances, up to `limit` of each saga and state version."""
    async with conn.cursor(row_factory=class_row(StoredSaga)) as cursor:
        await cursor.execute(SAMPLE_SAGAS, {"limit": limit})
        return await cursor.fetchall()


async def trace_published(conn: Conn, saga_id: int) -> list[dict[str, Any]]:
    """What an instance published, a row for each attempt or wait; none yet: one row of nulls."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(TRACE_PUBLISHED, {"saga_id": saga_id})
        return await cursor.fetchall()
