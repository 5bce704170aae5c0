"""The statements that publish, as typed functions; the transaction is the caller's.

One row answers each: of `publish_message` (id, duplicate, deliveries, refused), of
`publish_messages` the same as arrays. Ids are null where the transaction was read-only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.rows import tuple_row

from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import LiteralString

    from psycopg import AsyncConnection, Connection
    from sqlalchemy.engine import Connection as SqlConnection

PUBLISH_MESSAGE = load("outbox", "publish_message")
PUBLISH_MESSAGES = load("outbox", "publish_messages")


def execute_sync(
    conn: Connection[Any], statement: LiteralString, params: Mapping[str, Any]
) -> tuple[Any, ...]:
    """Run `statement` on a sync connection; its one row."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        return _one(cursor.execute(statement, params).fetchone())


async def execute_async(
    conn: AsyncConnection[Any], statement: LiteralString, params: Mapping[str, Any]
) -> tuple[Any, ...]:
    """Run `statement` on an async connection; its one row."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(statement, params)
        return _one(await cursor.fetchone())


def execute_sqlalchemy(
    conn: SqlConnection, statement: LiteralString, params: Mapping[str, Any]
) -> tuple[Any, ...]:
    """Run `statement` through SQLAlchemy, on its psycopg driver; its one row."""
    row = conn.exec_driver_sql(statement, dict(params)).one()
    return tuple(row)


def _one(row: tuple[Any, ...] | None) -> tuple[Any, ...]:
    assert row is not None, "a function in `from` that returns no set answers one row"
    return row
