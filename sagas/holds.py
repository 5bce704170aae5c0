"""One run at a time: a job's lease row, kept alive while its run works, and the run's record.

The lease works behind transaction poolers and ends with its holder (DED-6). It spares work; that
nothing is done twice is guaranteed by the keys of what the runs write.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog
from psycopg import Error

from sagas import queries_jobs
from sagas.results import COMPLETED, FAILED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

log = structlog.get_logger("sagas")

LEASE: Final = timedelta(minutes=5)
"""How long a run may be silent before another may take over; renewed while it works."""

_RENEWALS_PER_LEASE: Final = 3
_STATUS: Final = {COMPLETED: "done", FAILED: "failed"}


@dataclass(slots=True)
class Hold:
    """One run's hold on its job."""

    connect: Callable[[], AbstractAsyncContextManager[AsyncConnection[Any]]]
    clock: Callable[[], datetime]
    job: str
    run_id: UUID
    lease: timedelta = LEASE
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def begin(self, *, started_at: datetime, since: datetime | None = None) -> bool:
        """Take the lease and record the run, in one transaction. False: nothing is to be done.

        That is so while another run holds the lease and, with `since`, where a run that began then
        or later has ended: of two schedulers that find the same run due, one does it.
        """
        async with self.connect() as conn, conn.transaction():
            if not await self._take(conn):
                return False
            if since is not None and await queries_jobs.ended_since(conn, self.job, since=since):
                await queries_jobs.drop_lease(conn, job=self.job, holder=self.run_id)
                return False
            # a clock that is behind the one that asked must not make the run look older
            began = started_at if since is None else max(started_at, since)
            await queries_jobs.start_run(conn, run_id=self.run_id, job=self.job, now=began)
        return True

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew the lease while the block runs; whoever is cut off in it leaves the run unended.

        A run that was cut off frees the lease, so that the next may take its place at once.
        """
        keeper = asyncio.create_task(self._keep())
        try:
            yield
        except asyncio.CancelledError:
            await asyncio.shield(self._drop())
            raise
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper

    async def end(
        self,
        *,
        outcome: str,
        summary: Mapping[str, Any],
        started_at: datetime,
        finished_at: datetime,
        error_class: str | None = None,
    ) -> None:
        """Record how the run ended (a word of `sagas.results`); let the next one begin."""
        async with self.connect() as conn, conn.transaction():
            await queries_jobs.finish_run(
                conn,
                run_id=self.run_id,
                job=self.job,
                status=_STATUS.get(outcome, outcome),
                summary=summary,
                started_at=started_at,
                finished_at=finished_at,
                error_class=error_class,
            )
            await queries_jobs.drop_lease(conn, job=self.job, holder=self.run_id)

    async def _keep(self) -> None:
        while True:
            await self.sleep(self.lease.total_seconds() / _RENEWALS_PER_LEASE)
            try:
                async with self.connect() as conn, conn.transaction():
                    held = await self._take(conn)
            except (Error, OSError) as error:  # the run itself will meet it
                log.warning("job.lease_not_renewed", job=self.job, error_class=type(error).__name__)
                continue
            if not held:  # frozen longer than the lease: another run has taken over
                log.warning("job.lease_lost", job=self.job, run_id=str(self.run_id))

    async def _take(self, conn: AsyncConnection[Any]) -> bool:
        return await queries_jobs.take_lease(
            conn, job=self.job, holder=self.run_id, now=self.clock(), lease=self.lease
        )

    async def _drop(self) -> None:
        async with self.connect() as conn, conn.transaction():
            await queries_jobs.drop_lease(conn, job=self.job, holder=self.run_id)
