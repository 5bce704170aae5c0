"""What only a lab asks the database; the transaction is the caller's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row, dict_row, tuple_row

from outbox.saga.store import Origin, StoredSaga, Transition
from outbox.statements import load
from outbox.testing.lab_memory import MessageRow, ReceiptRow

if TYPE_CHECKING:
    from datetime import datetime

    from outbox.queries import Conn

NEXT_DUE = load("outbox.testing", "next_due")
ALL_SAGAS = load("outbox.testing", "all_sagas")
ALL_TRANSITIONS = load("outbox.testing", "all_transitions")
ALL_MESSAGES = load("outbox.testing", "all_messages")
ALL_RECEIPTS = load("outbox.testing", "all_receipts")


async def next_due(conn: Conn, *, now: datetime) -> datetime | None:
    """The first instant after `now` at which something falls due or a lease runs out."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(NEXT_DUE, {"now": now})
        row = await cursor.fetchone()
    return None if row is None else row[0]


async def all_sagas(conn: Conn, name: str) -> list[StoredSaga]:
    """Every instance of a saga."""
    async with conn.cursor(row_factory=class_row(StoredSaga)) as cursor:
        await cursor.execute(ALL_SAGAS, {"name": name})
        return await cursor.fetchall()


async def all_transitions(conn: Conn, saga_id: int) -> list[Transition]:
    """The timeline of one instance."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(ALL_TRANSITIONS, {"saga_id": saga_id})
        rows: list[dict[str, Any]] = await cursor.fetchall()
    return [
        Transition(
            saga_id=row["saga_id"], version=row["version"], message_id=row["message_id"],
            topic=row["topic"], change=row["change"], published=tuple(row["published"]),
            armed=row["armed"], cancelled=tuple(row["cancelled"]),
        )
        for row in rows
    ]  # fmt: skip


async def all_messages(conn: Conn) -> list[MessageRow]:
    """Every message."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(ALL_MESSAGES)
        rows = await cursor.fetchall()
    origins: list[Any] = [row.pop("saga") for row in rows]
    return [
        MessageRow(**row, origin=Origin(**origin) if origin else None)
        for row, origin in zip(rows, origins, strict=True)
    ]


async def all_receipts(conn: Conn) -> list[ReceiptRow]:
    """Every receipt, in the order of deliveries and then of attempts."""
    async with conn.cursor(row_factory=class_row(ReceiptRow)) as cursor:
        await cursor.execute(ALL_RECEIPTS)
        return await cursor.fetchall()
