"""The statements that sow a demonstration: one per table, each for all rows at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagas.statements import statement

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection

    from sagas.seed import Rows


async def insert_rows(conn: AsyncConnection[Any], rows: Rows, *, now: datetime) -> None:
    """Insert everything, parents first; triggers of this transaction see `now` as the time."""
    await conn.execute(statement("set_instant"), {"now": now})
    for name, table in (
        ("seed_organisations", rows.organisations),
        ("seed_chapters", rows.chapters),
        ("seed_mentors", rows.mentors),
        ("seed_memberships", rows.memberships),
        ("seed_roles", rows.roles),
        ("seed_assignments", rows.assignments),
        ("seed_certificates", rows.certificates),
        ("seed_devices", rows.devices),
    ):
        columns = zip(*table, strict=True)
        params = {f"c{place}": list(values) for place, values in enumerate(columns)}
        if params:
            await conn.execute(statement(name), {**params, "now": now})
