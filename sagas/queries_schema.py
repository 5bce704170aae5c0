"""The statement of the application's own part of the doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagas.statements import statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection


async def unsound_schema(
    conn: AsyncConnection[Any], *, indexes: Sequence[str], tables: Sequence[str]
) -> list[tuple[str, str]]:
    """Name and fault of whatever is not as the revisions made it."""
    params = {"indexes": list(indexes), "tables": list(tables)}
    cursor = await conn.execute(statement("unsound_schema"), params)
    return [(row[0], row[1]) for row in await cursor.fetchall()]
