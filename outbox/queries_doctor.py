"""What the doctor asks the server. Reads only, but for one ring of the bell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from outbox.statements import load, rows_of

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from outbox.queries import Conn

DOCTOR_SERVER = load("outbox", "doctor_server")
DOCTOR_TABLES = load("outbox", "doctor_tables")
DOCTOR_INDEXES = load("outbox", "doctor_indexes")
DOCTOR_SNAPSHOTS = load("outbox", "doctor_snapshots")
DOCTOR_SEQUENCES = load("outbox", "doctor_sequences")
LIST_WORKERS = load("outbox", "list_workers")
LIST_TICKETS = load("outbox", "list_tickets")
RING = load("outbox", "ring")


@dataclass(frozen=True, slots=True)
class Server:
    """The server's version and settings."""

    version_num: int
    version: str
    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    autovacuum: bool
    default_isolation: str
    read_only: bool
    database_bytes: int
    sees_all_sessions: bool
    clock: datetime


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the engine, as the server's statistics tell it."""

    name: str
    bytes: int
    live_rows: int
    dead_rows: int
    vacuumed_at: datetime | None
    vacuum_off: bool


@dataclass(frozen=True, slots=True)
class Index:
    """One index as it is."""

    name: str
    table_name: str
    definition: str
    valid: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Somebody who keeps old rows alive. `age` counts transactions; a slot has no `open_for`."""

    kind: str
    name: str
    state: str | None
    open_for: timedelta | None
    age: int | None


@dataclass(frozen=True, slots=True)
class Sequence:
    """One id sequence; `table_max` is the highest id in its table, where that is asked."""

    name: str
    last_value: int
    max_value: int
    table_max: int | None


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """What one worker takes of one handler."""

    id: str
    handler: str
    queue: str
    slots: int
    alive: bool


@dataclass(frozen=True, slots=True)
class TicketsOut:
    """The tickets in one queue; the last is good `until`. `taken`: a live worker reads it."""

    handler: str
    queue: str
    tickets: int
    deliveries: int
    until: datetime
    taken: bool


async def server(conn: Conn) -> Server:
    """Version and settings."""
    async with conn.cursor(row_factory=class_row(Server)) as cursor:
        await cursor.execute(DOCTOR_SERVER)
        found = await cursor.fetchone()
    assert found is not None, "the statement has one row"
    return found


async def tables(conn: Conn) -> list[Table]:
    """The engine's tables, the largest first."""
    return await rows_of(conn, Table, DOCTOR_TABLES)


async def indexes(conn: Conn) -> list[Index]:
    """The engine's indexes."""
    return await rows_of(conn, Index, DOCTOR_INDEXES)


async def snapshots(conn: Conn) -> list[Snapshot]:
    """Who holds old rows."""
    return await rows_of(conn, Snapshot, DOCTOR_SNAPSHOTS)


async def sequences(conn: Conn) -> list[Sequence]:
    """The engine's id sequences."""
    return await rows_of(conn, Sequence, DOCTOR_SEQUENCES)


async def workers(conn: Conn) -> list[WorkerSeen]:
    """Workers that have been seen, a row per handler."""
    return await rows_of(conn, WorkerSeen, LIST_WORKERS)


async def tickets(conn: Conn) -> list[TicketsOut]:
    """The tickets that are out, by queue."""
    return await rows_of(conn, TicketsOut, LIST_TICKETS)


async def ring(conn: Conn, word: str) -> None:
    """Ring the bell with `word`."""
    await conn.execute(RING, {"word": word})
