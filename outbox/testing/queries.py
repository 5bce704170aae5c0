"""What only tests ask the database; the transaction is the caller's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row, tuple_row
from sqlalchemy.engine import Connection as SqlConnection

from outbox.queries import Claimed
from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import LiteralString

    from outbox.handles import SyncHandle
    from outbox.queries import Conn

FIND_LEASE = load("outbox.testing", "find_lease")
LIST_PUBLISHED = load("outbox.testing", "list_published")
COUNT_TOPICS = load("outbox.testing", "count_topics")
TAKE_OVER = load("outbox.testing", "take_over")
COUNT_OWED = load("outbox.testing", "count_owed")

Rows = list[tuple[Any, ...]]


async def find_lease(conn: Conn, delivery_id: int) -> tuple[str, Claimed] | None:
    """The handler of a leased delivery and the delivery; None when nobody holds it."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(FIND_LEASE, {"delivery_id": delivery_id})
        row = await cursor.fetchone()
    return None if row is None else (row.pop("handler"), Claimed(**row))


async def list_published(conn: Conn, topic: str, version: int) -> Rows:
    """Id, payload, key, sequence, correlation id and date of each message of a topic."""
    return await _rows(conn, LIST_PUBLISHED, {"topic": topic, "version": version})


async def count_topics(conn: Conn) -> Rows:
    """Topic, version and number of messages."""
    return await _rows(conn, COUNT_TOPICS, {})


async def count_owed(conn: Conn, handler: str) -> int:
    """How many deliveries of a handler there must be, in whatever state."""
    ((count,),) = await _rows(conn, COUNT_OWED, {"handler": handler})
    return int(count)


def list_published_sync(handle: SyncHandle, topic: str, version: int) -> Rows:
    """As `list_published`, through whatever `publish` takes: inside its transaction, too."""
    return _rows_sync(handle, LIST_PUBLISHED, {"topic": topic, "version": version})


def count_topics_sync(handle: SyncHandle) -> Rows:
    """As `count_topics`."""
    return _rows_sync(handle, COUNT_TOPICS, {})


def take_over(conn: psycopg.Connection[Any], handler: str) -> int:
    """Give what `handler` has leased to somebody else; how many deliveries that were."""
    return conn.execute(TAKE_OVER, {"handler": handler}).rowcount


async def _rows(conn: Conn, statement: LiteralString, params: Mapping[str, Any]) -> Rows:
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(statement, params)
        return await cursor.fetchall()


def _rows_sync(handle: SyncHandle, statement: LiteralString, params: Mapping[str, Any]) -> Rows:
    if isinstance(handle, psycopg.Connection):
        with handle.cursor(row_factory=tuple_row) as cursor:
            return cursor.execute(statement, params).fetchall()
    connection = handle if isinstance(handle, SqlConnection) else handle.connection()
    return [tuple(row) for row in connection.exec_driver_sql(statement, dict(params))]
