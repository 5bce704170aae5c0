"""Gathers what the doctor's checks look at: from the database, from the bell, from this machine."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
from psycopg import AsyncConnection

from outbox import inspection, queries_doctor, queries_routes
from outbox.dsn import libpq_dsn
from outbox.findings import Bell, Facts, HistoryState
from outbox.migrations import ENGINE
from outbox.notifier import CHANNEL_LISTEN
from outbox.readiness import behind_pooler, compatible_from, connect
from outbox.self_audit import BLOCKED, OVERDUE, SelfAudit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from outbox.app import App
    from outbox.queries import Conn

BELL_SECONDS_MAX = 3.0
"""How long a ring may take to be heard."""


async def check_up(
    app: App, dsn: str, *, listen_dsn: str | None = None, bell_seconds: float = BELL_SECONDS_MAX
) -> Facts:
    """All facts about the database at `dsn`. Raises `DatabaseUnreachable`.

    Of a schema that this program cannot read, only the history and the server are looked at.
    """
    histories = await asyncio.to_thread(_histories, app, dsn)
    async with await connect(dsn) as conn:
        await conn.set_autocommit(True)
        server, skewed_by = await _server(conn)
        facts: dict[str, Any] = {
            "histories": histories, "server": server, "host_clock": skewed_by,
            "handlers": sorted(app.handlers),
        }  # fmt: skip
        facts["histories"] = histories = [await _suited(conn, one) for one in histories]
        if not histories[0].usable:
            return Facts(**facts)
        made = await asyncio.to_thread(ENGINE.sql)
        facts["tables_expected"], facts["expected"] = made_by(made)
        unread: list[str] = []
        for name, read in _READS.items():
            try:
                facts[name] = await read(conn)
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable):
                unread.append(name)
        try:
            facts["troubles"] = await _troubles(conn, app)
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable):
            unread.append("troubles")
        try:
            facts["own"] = [] if app.doctor is None else await app.doctor(conn)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the rest is still told
            unread.append(f"what {app.name} looks at itself ({type(failure).__name__})")
        facts["bell"] = await _bell(conn, dsn, listen_dsn, bell_seconds)
    return Facts(**facts, unread=unread)


_READS: dict[str, Callable[[Conn], Awaitable[Any]]] = {
    "tables": queries_doctor.tables,
    "indexes": queries_doctor.indexes,
    "snapshots": queries_doctor.snapshots,
    "sequences": queries_doctor.sequences,
    "routes": queries_routes.list_routes,
    "depths": inspection.depths,
    "unrouted": inspection.unrouted,
    "relays": inspection.relays,
    "workers": queries_doctor.workers,
    "tickets": queries_doctor.tickets,
    "destinations": inspection.destinations,
}


def _histories(app: App, dsn: str) -> list[HistoryState]:
    return [
        HistoryState(
            f"{one.version_table_schema}.{one.version_table}", one.current(dsn), one.known()
        )
        for one in (ENGINE, *app.histories)
    ]


async def _suited(conn: Conn, state: HistoryState) -> HistoryState:
    """The same, with what an unknown revision says of this code."""
    if state.found is None or state.found in state.known:
        return state
    return replace(state, suits=await compatible_from(conn, state.name) in state.known)


async def _server(conn: Conn) -> tuple[queries_doctor.Server, datetime]:
    """The server, and this machine's clock in the middle of asking it."""
    before = datetime.now(UTC)
    server = await queries_doctor.server(conn)
    return server, before + (datetime.now(UTC) - before) / 2


async def _troubles(conn: Conn, app: App) -> list[Any]:
    """What the self-audit of a relay with all handlers would find."""
    found = await SelfAudit(app, frozenset(app.handlers)).find(conn)
    return [one for one in found if one.kind in {OVERDUE, BLOCKED}]


async def _bell(conn: Conn, dsn: str, listen_dsn: str | None, seconds: float) -> Bell:
    """Ring once and listen where relays do; and see whether a pooler stands between."""
    pooled = await behind_pooler(conn)
    word = f"doctor:{uuid4().hex}"
    heard = False
    try:
        ear: AsyncConnection[Any] = await AsyncConnection.connect(
            libpq_dsn(listen_dsn or dsn), autocommit=True, connect_timeout=5
        )
    except psycopg.OperationalError:
        return Bell(heard=False, own_address=listen_dsn is not None, pooled=pooled)
    async with ear:
        await ear.execute(CHANNEL_LISTEN)
        await queries_doctor.ring(conn, word)
        async for notice in ear.notifies(timeout=seconds):
            if notice.payload == word:
                heard = True
                break
    return Bell(heard=heard, own_address=listen_dsn is not None, pooled=pooled)


_MADE = re.compile(
    r"""
    create\s+(?:unlogged\s+)?table\s+(?:if\s+not\s+exists\s+)?outbox\.(?P<table>\w+)
    | drop\s+table\s+(?:if\s+exists\s+)?outbox\.(?P<dropped_table>\w+)
    | alter\s+table\s+(?:only\s+)?outbox\.(?P<altered>\w+)
    | create\s+(?:unique\s+)?index\s+(?:concurrently\s+)?(?:if\s+not\s+exists\s+)?(?P<index>\w+)
        \s+on\s+(?:only\s+)?outbox\.(?P<on>\w+)\s*(?:using\s+\w+\s*)?\((?P<columns>[^()]*)(?P<end>[()])
    | drop\s+index\s+(?:concurrently\s+)?(?:if\s+exists\s+)?outbox\.(?P<dropped_index>\w+)
    | alter\s+index\s+outbox\.(?P<renamed>\w+)\s+rename\s+to\s+(?P<new_name>\w+)
    | drop\s+constraint\s+(?:if\s+exists\s+)?(?P<dropped_constraint>\w+)
    | constraint\s+(?P<constraint>\w+)\s+(?:primary\s+key|unique)\s*\((?P<key>[^()]*)\)
    """,
    re.IGNORECASE | re.VERBOSE,
)


def made_by(sql: str) -> tuple[list[str], dict[str, tuple[str, str | None]]]:
    """Tables and indexes that revisions make, read from their SQL in its order.

    Of an index its table, and its columns where they are plain names.
    """
    text = re.sub(r"--[^\n]*", "", sql)
    text = re.sub(r"\$(\w*)\$.*?\$\1\$", "", text, flags=re.DOTALL)
    tables: dict[str, None] = {}
    indexes: dict[str, tuple[str, str | None]] = {}
    current = ""
    for found in _MADE.finditer(text):
        match found.lastgroup, found.groupdict():
            case _, {"table": str(name)}:
                tables[name], current = None, name
            case _, {"dropped_table": str(name)}:
                tables.pop(name, None)
                indexes = {index: on for index, on in indexes.items() if on[0] != name}
            case _, {"altered": str(name)}:
                current = name
            case _, {"index": str(name), "on": str(table), "columns": str(columns), "end": end}:
                plain = end == ")" and re.fullmatch(r"[\w\s,]+", columns)
                indexes[name] = table, " ".join(columns.split()) if plain else None
            case _, {"dropped_index": str(name)} | {"dropped_constraint": str(name)}:
                indexes.pop(name, None)
            case _, {"renamed": str(name), "new_name": str(new)} if name in indexes:
                indexes[new] = indexes.pop(name)
            case _, {"constraint": str(name), "key": str(columns)}:
                indexes[name] = current, " ".join(columns.split())
            case _:
                pass
    return list(tables), indexes
