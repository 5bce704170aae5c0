"""What only tests ask the database; the transaction is the caller's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg.rows import dict_row

from outbox.queries import Claimed
from outbox.statements import load

if TYPE_CHECKING:
    from outbox.queries import Conn

FIND_LEASE = load("outbox.testing", "find_lease")


async def find_lease(conn: Conn, delivery_id: int) -> tuple[str, Claimed] | None:
    """The handler of a leased delivery and the delivery; None when nobody holds it."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(FIND_LEASE, {"delivery_id": delivery_id})
        row = await cursor.fetchone()
    return None if row is None else (row.pop("handler"), Claimed(**row))
