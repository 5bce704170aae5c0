"""The statement of the report on silent devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row

from sagas.statements import statement

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection


async def silent_devices(
    conn: AsyncConnection[Any],
    *,
    silent_since: datetime,
    seen_since: datetime,
    code: str | None,
) -> list[dict[str, Any]]:
    """Usable addresses last seen in (`seen_since`, `silent_since`], the oldest first."""
    params = {"silent_since": silent_since, "seen_since": seen_since, "code": code}
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement("silent_devices"), params)
        return await cursor.fetchall()
