"""How long records of the scheduled work are kept: runs of jobs, and checks of credentials.

Both grow by the clock alone, some 170 runs and 150 checks a day, and after a while nobody asks for
them. The last of each job and integration stays for ever, for it says how things stand.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sagas import queries_jobs

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from psycopg import AsyncConnection

KEPT_FOR: Final = timedelta(days=90)
"""Where the settings say nothing else."""
AT_ONCE: Final = 2_000
"""Rows that one transaction deletes at most."""


async def prune_records(
    connect: Callable[[], AbstractAsyncContextManager[AsyncConnection[Any]]],
    *,
    before: datetime,
    at_once: int = AT_ONCE,
) -> dict[str, int]:
    """Delete what is from before `before`, a bounded number at a time; how many rows per table."""
    gone = {"job_runs": 0, "credential_checks": 0}
    async with connect() as conn:
        for table in gone:
            while True:
                async with conn.transaction():
                    count = await queries_jobs.prune(conn, table, before=before, limit=at_once)
                gone[table] += count
                if count < at_once:
                    break
    return gone
