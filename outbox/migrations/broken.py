"""What a migration that was broken off leaves: an index that was being built concurrently.

Everything else of a revision is one transaction with its line in the version table, and rolls back.
Such an index stays, invalid: it costs every write and serves no read, and `if not exists` takes it
for the one that is wanted. Also, a server goes on building for a client that has died.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOK_SECONDS = 0.1
"""How long between two looks whether a server still builds."""

_BUILT = re.compile(
    r"create\s+(?:unique\s+)?index\s+concurrently\s+(?:if\s+not\s+exists\s+)?(\w+)"
    r"\s+on\s+(?:only\s+)?(\w+)\.\w+",
    re.IGNORECASE,
)
_BUILDING = """
select 1 from pg_stat_progress_create_index as p
inner join pg_class as c on c.oid = p.index_relid
where c.relname = %s and c.relnamespace = to_regnamespace(%s) and p.pid <> pg_backend_pid()
"""
_BROKEN = """
select 1 from pg_index as i inner join pg_class as c on c.oid = i.indexrelid
where c.relname = %s and c.relnamespace = to_regnamespace(%s) and not i.indisvalid
"""


def indexes_built(script: str) -> Iterator[tuple[str, str]]:
    """Schema and name of each index that `script` builds concurrently."""
    for name, schema in _BUILT.findall(re.sub(r"--[^\n]*", "", script)):
        yield schema, name


def drop_broken(cursor: Any, index: tuple[str, str]) -> None:
    """Drop `index` if it is invalid, once nobody builds it any more.

    `cursor` is the driver's, on a connection in autocommit: who waits with a snapshot would be
    waited for by the one that builds.
    """
    schema, name = index
    while _found(cursor, _BUILDING, name, schema):
        time.sleep(LOOK_SECONDS)
    if _found(cursor, _BROKEN, name, schema):
        cursor.execute(f'drop index concurrently "{schema}"."{name}"')


def _found(cursor: Any, statement: str, *params: str) -> bool:
    cursor.execute(statement, params)
    return cursor.fetchone() is not None
