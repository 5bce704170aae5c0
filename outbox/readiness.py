"""Whether a database can be worked with: reachable, migrated, and by a version this code knows."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from outbox.dsn import libpq_dsn, where
from outbox.errors import (
    DatabaseUnreachable,
    SchemaError,
    SchemaMissing,
    SchemaTooNew,
    SchemaTooOld,
)
from outbox.statements import load

FIND_REVISION = load("outbox", "find_revision")


async def connect(dsn: str) -> AsyncConnection[Any]:
    """An async connection. Raises `DatabaseUnreachable` with the reason, without the password."""
    try:
        return await AsyncConnection.connect(libpq_dsn(dsn), connect_timeout=10)
    except psycopg.OperationalError as error:
        raise DatabaseUnreachable(where(dsn), reason_of_refusal(error)) from error


def reason_of_refusal(error: psycopg.OperationalError) -> str:
    """Why the server was not reached, in words of ours."""
    text = str(error)
    for sign, reason in (
        ("password authentication failed", "the user or password is wrong"),
        ("no pg_hba.conf entry", "the server does not accept this user from here"),
        ("does not exist", "the role or database does not exist"),
        ("Connection refused", "nothing listens there"),
        ("No such file or directory", "there is no server socket there"),
        ("timeout", "it did not answer in time"),
        ("resolve", "the host name is unknown"),
        ("translate host name", "the host name is unknown"),
        ("too many clients", "the server has no free connection"),
    ):
        if sign in text:
            return reason
    return f"SQLSTATE {error.sqlstate}" if error.sqlstate else "the connection failed"


async def require_schema(dsn: str) -> None:
    """Raise a `SchemaError` unless the engine's tables are of a revision this code can use."""
    async with await connect(dsn) as conn:
        await check_revision(conn)


class Revisions(Protocol):
    """A schema history, as far as its place in it is asked."""

    def current(self, dsn: str) -> str | None:
        """The revision the database is at."""
        ...

    def known(self) -> list[str]:
        """Every revision this code knows, the newest first."""
        ...


async def check_history(history: Revisions, dsn: str) -> None:
    """Raise a `SchemaError` unless the application's tables are of the revision this code needs."""
    found = await asyncio.to_thread(history.current, dsn)
    known = history.known()
    if found == known[0]:
        return
    state = "missing" if found is None else f"at revision {found}"
    cure = (
        "run `outbox migrate` on it first"
        if found is None or found in known
        else "deploy the program that made them"
    )
    raise SchemaError(f"the application's tables are {state} in this database; {cure}")


async def check_revision(conn: AsyncConnection[Any]) -> None:
    """The same on an open connection."""
    from outbox.migrations import ENGINE  # noqa: PLC0415 - Alembic is slow to import and only needed here

    found = await _revision(conn)
    if found is None:
        raise SchemaMissing
    known = ENGINE.known()
    if found not in known:
        raise SchemaTooNew(found)
    if found != known[0]:
        raise SchemaTooOld(found, known[0])


async def _revision(conn: AsyncConnection[Any]) -> str | None:
    async with conn.cursor(row_factory=tuple_row) as cursor:
        try:
            async with conn.transaction():
                await cursor.execute(FIND_REVISION)
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return None
        row = await cursor.fetchone()
    return None if row is None else str(row[0])
