"""The statements of the shop's handlers, on the connection that the engine gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg import AsyncConnection

# One statement decides: who finds too little takes nothing, and the row lock makes racers wait.
RESERVE = """
with wanted as (
    select id, item, count from shop.order where id = %s and status = 'placed' for update
), taken as (
    update shop.stock as s set available = s.available - w.count
    from wanted as w where s.item = w.item and s.available >= w.count
    returning w.id
)
update shop.order as o
set status = case when exists (select from taken) then 'confirmed' else 'refused' end
from wanted as w where o.id = w.id
returning o.status
"""

LETTERS = """
select id, email, item, status from shop.order where id = any(%s)
"""

NOTE_MAILS = """
update shop.order as o set mail = u.mail
from unnest(%s::bigint[], %s::text[]) as u(id, mail) where o.id = u.id
"""


class Letter(NamedTuple):
    """What a mail about an order needs to know."""

    id: int
    email: str
    item: str
    status: str


async def reserve(conn: AsyncConnection[Any], order_id: int) -> str | None:
    """Set the stock of a new order aside: `confirmed` or `refused`; None if it was answered."""
    row = await (await conn.execute(RESERVE, [order_id])).fetchone()
    return None if row is None else str(row[0])


async def letters(conn: AsyncConnection[Any], order_ids: Sequence[int]) -> Mapping[int, Letter]:
    """The letters about some orders, by order, as the tables stand now."""
    async with conn.cursor(row_factory=class_row(Letter)) as cursor:
        await cursor.execute(LETTERS, [list(order_ids)])
        return {letter.id: letter for letter in await cursor.fetchall()}


async def note_mails(conn: AsyncConnection[Any], ends: Mapping[int, str]) -> None:
    """Write down how the mails about some orders ended."""
    await conn.execute(NOTE_MAILS, [list(ends), list(ends.values())])
