"""What `outbox doctor` looks at beyond the engine: the application's own tables and indexes.

The duplicate check stands on an index (DED-4), and most of who may read what on row-level security
(VIS-1 to VIS-5): both can be lost to a restore or a hand, and neither is missed until it hurts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import schema.migrations
import schema.tables
from outbox import Finding, Severity
from sagas import queries_schema

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_MIGRATE: Final = "make it again as `outbox migrate --sql` prints it"
_FAULTS: Final = {
    "index_invalid": (
        "index {} is invalid",
        "every write pays for it and no read may use it",
        "`reindex index concurrently public.{}`",
    ),
    "index_missing": (
        "index {} of the application is missing",
        "statements that need it read the table whole, or a rule is no longer kept",
        _MIGRATE + ", with `concurrently`",
    ),
    "table_missing": (
        "table {} of the application is missing",
        "a migration ended half way, or somebody dropped it",
        "restore it from a backup; " + _MIGRATE,
    ),
    "table_unguarded": (
        "row-level security of table {} is off, or not forced",
        "whoever was granted the table reads all of it, whatever the policies say",
        "`alter table public.{0} enable row level security, force row level security`",
    ),
}


async def examine(conn: AsyncConnection[Any]) -> list[Finding]:
    """Indexes and tables of the newest revision that are missing, invalid or open."""
    found = await queries_schema.unsound_schema(
        conn,
        indexes=schema.migrations.indexes(),
        tables=[table.name for table in schema.tables.metadata.sorted_tables],
    )
    return [_finding(name, fault) for name, fault in found]


def _finding(name: str, fault: str) -> Finding:
    what, why, cure = _FAULTS[fault]
    return Finding(Severity.ERROR, "application", what.format(name), why, cure.format(name))
