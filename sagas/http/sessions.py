"""Transactions of requests: as a person, so that row-level security decides, or as the service.

The service role is taken on here, in the server, and reaches no client (SEC-2).
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from psycopg_pool import AsyncConnectionPool

from sagas.coordinator import Forbidden
from sagas.http import queries
from sagas.http.tokens import Caller, Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg import AsyncConnection

    from outbox.clock import Clock

WAIT_SECONDS: Final = 5.0
"""How long a request waits for a connection before it is told to come back."""


class Sessions:
    """One pool of a login without rights of its own; each transaction takes a role on."""

    def __init__(self, pool: AsyncConnectionPool[Any], clock: Clock) -> None:
        self._pool, self._clock = pool, clock

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, dsn: str, clock: Clock, *, connections_max: int
    ) -> AsyncIterator[Sessions]:
        """Sessions over a pool that is closed at the end; it connects when it is used."""
        pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            dsn,
            min_size=0,
            max_size=connections_max,
            timeout=WAIT_SECONDS,
            kwargs={"prepare_threshold": None, "connect_timeout": 5},  # a pooler keeps none
            open=False,
        )
        await pool.open()
        try:
            yield cls(pool, clock)
        finally:
            await pool.close()

    @asynccontextmanager
    async def person(self, caller: Caller) -> AsyncIterator[AsyncConnection[Any]]:
        """A transaction under `authenticated`, in which policies know who calls."""
        async with self._transaction(Role.PERSON, caller) as conn:
            yield conn

    @asynccontextmanager
    async def service(self, caller: Caller | None = None) -> AsyncIterator[AsyncConnection[Any]]:
        """A transaction under `service_role`, for a deed whose right the deed itself looks up.

        A `Forbidden` that leaves the block is passed on after the commit: the refusal was written
        into the audit, and stays there (VIS-9).
        """
        refused: Forbidden | None = None
        async with self._transaction(Role.SERVICE, caller) as conn:
            try:
                yield conn
            except Forbidden as error:
                refused = error
        if refused is not None:
            raise refused

    async def promote(self, conn: AsyncConnection[Any], caller: Caller) -> None:
        """Go on under `service_role` in the same transaction: the person's right was found."""
        await queries.act_as(conn, Role.SERVICE, caller, now=self._clock.sql_now())

    async def demote(self, conn: AsyncConnection[Any], caller: Caller) -> None:
        """Go on as the person again, in the same transaction."""
        await queries.act_as(conn, Role.PERSON, caller, now=self._clock.sql_now())

    @asynccontextmanager
    async def _transaction(
        self, role: Role, caller: Caller | None
    ) -> AsyncIterator[AsyncConnection[Any]]:
        async with self._pool.connection() as conn, conn.transaction():
            await queries.act_as(conn, role, caller, now=self._clock.sql_now())
            yield conn


def service_url(dsn: str) -> str:
    """`dsn` for sessions that are under `service_role` from their start: those of jobs.

    Only for direct addresses and session poolers: a transaction pooler refuses session options.
    """
    parts = urlsplit(dsn)
    query = dict(parse_qsl(parts.query))
    query["options"] = f"{query.get('options', '')} -c role={Role.SERVICE.value}".strip()
    return urlunsplit(parts._replace(query=urlencode(query, quote_via=quote)))
