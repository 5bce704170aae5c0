"""Whether a database can be worked with: reachable, migrated, and by a version this code can use.

In the middle of a deploy the schema is ahead of the code that is still running, and restarted code
must come up: it runs if it knows the revision that the schema names as `compatible_from`.
"""

from __future__ import annotations

import asyncio
import re
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
FIND_COMPATIBLE_FROM = load("outbox", "find_compatible_from")
FIND_BACKEND = load("outbox", "find_backend")


async def connect(dsn: str) -> AsyncConnection[Any]:
    """An async connection. Raises `DatabaseUnreachable` with the reason, without the password."""
    try:
        return await AsyncConnection.connect(
            libpq_dsn(dsn), connect_timeout=10, prepare_threshold=None
        )
    except psycopg.OperationalError as error:
        raise DatabaseUnreachable(where(dsn), reason_of_refusal(error)) from error


def reason_of_refusal(error: psycopg.OperationalError) -> str:
    """Why the server was not reached, in words of ours."""
    text = str(error)
    for sign, reason in (
        ("password authentication failed", "the user or password is wrong"),
        ("no pg_hba.conf entry", "the server does not accept this user from here"),
        (r'database ".*" does not exist', "there is no database of this name, create it first"),
        (r'role ".*" does not exist', "there is no user of this name"),
        ("does not exist", "the user or database does not exist"),
        ("Connection refused", "nothing listens there"),
        ("No such file or directory", "there is no server socket there"),
        ("timeout", "it did not answer in time"),
        ("resolve", "the host name is unknown"),
        ("translate host name", "the host name is unknown"),
        ("too many clients", "the server has no free connection"),
    ):
        if re.search(sign, text):
            return reason
    return f"SQLSTATE {error.sqlstate}" if error.sqlstate else "the connection failed"


async def require_schema(dsn: str) -> None:
    """Raise a `SchemaError` unless the engine's tables are of a revision this code can use."""
    async with await connect(dsn) as conn:
        await check_revision(conn)


async def check_database(dsn: str) -> bool:
    """Raise as `require_schema`; whether a pooler stands before the server."""
    async with await connect(dsn) as conn:
        await check_revision(conn)
        return await behind_pooler(conn)


async def behind_pooler(conn: AsyncConnection[Any]) -> bool:
    """Whether what answers the connection is not the server itself.

    PgBouncer and its like tell a client a process id that they made up; only the server knows its
    own. One in session mode is taken for one in transaction mode, which costs nothing but speed.
    """
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(FIND_BACKEND)
        row = await cursor.fetchone()
    return row is not None and row[0] != conn.info.backend_pid


class Revisions(Protocol):
    """A schema history, as far as its place in it is asked."""

    @property
    def version_table_schema(self) -> str:
        """The schema its version table is in."""
        ...

    @property
    def version_table(self) -> str:
        """Its version table's name."""
        ...

    def current(self, dsn: str) -> str | None:
        """The revision the database is at."""
        ...

    def known(self) -> list[str]:
        """Every revision this code knows, the newest first."""
        ...


async def check_history(history: Revisions, dsn: str) -> None:
    """Raise a `SchemaError` unless the application's tables are of a revision this code can use."""
    found = await asyncio.to_thread(history.current, dsn)
    known = history.known()
    if found == known[0]:
        return
    if found is not None and found not in known:
        async with await connect(dsn) as conn:
            if await compatible_from(conn, _name_of(history)) in known:
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
        if await compatible_from(conn, _name_of(ENGINE)) in known:
            return
        raise SchemaTooNew(found)
    if found != known[0]:
        raise SchemaTooOld(found, known[0])


async def compatible_from(conn: AsyncConnection[Any], name: str) -> str | None:
    """The oldest revision whose code runs on this schema; None where nobody said so."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        try:
            async with conn.transaction():
                await cursor.execute(FIND_COMPATIBLE_FROM, {"history": name})
        except psycopg.errors.UndefinedTable:
            return None
        row = await cursor.fetchone()
    return None if row is None else str(row[0])


def _name_of(history: Revisions) -> str:
    return f"{history.version_table_schema}.{history.version_table}"


async def _revision(conn: AsyncConnection[Any]) -> str | None:
    async with conn.cursor(row_factory=tuple_row) as cursor:
        try:
            async with conn.transaction():
                await cursor.execute(FIND_REVISION)
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return None
        row = await cursor.fetchone()
    return None if row is None else str(row[0])
