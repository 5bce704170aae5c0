"""Looking at the engine from outside: depth, census, why one delivery waits. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row, dict_row

from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from outbox.queries import Conn, Now

CENSUS = load("outbox", "census")
LIST_RELAYS = load("outbox", "list_relays")
LIST_DESTINATIONS = load("outbox", "list_destinations")
COUNT_UNROUTED = load("outbox", "count_unrouted")
EXPLAIN_DELIVERY = load("outbox", "explain_delivery")
EXPLAIN_DEAD = load("outbox", "explain_dead")
LIST_RECEIPTS = load("outbox", "list_receipts")


@dataclass(frozen=True, slots=True)
class HandlerCensus:
    """How many deliveries of one handler are where; `oldest_due_at` of what is due, unsettled."""

    handler: str
    pending: int
    leased: int
    unknown: int
    dead: int
    done: int
    overtaken: int
    oldest_due_at: datetime | None


@dataclass(frozen=True, slots=True)
class RelaySeen:
    """A relay that has said it lives, `unseen_for` ago."""

    id: str
    started_at: datetime
    seen_at: datetime
    handlers: list[str]
    asleep_until: datetime | None
    unseen_for: timedelta


@dataclass(frozen=True, slots=True)
class DestinationState:
    """What a handler's claims are told: paused, held, credentials rejected, or nothing."""

    handler: str
    paused_at: datetime | None
    paused_by: str | None
    paused_why: str | None
    held_until: datetime | None
    held_reason: str | None
    circuit_opened_at: datetime | None
    circuit_reason: str | None
    circuit_probe_at: datetime | None


@dataclass(frozen=True, slots=True)
class UnroutedTopic:
    """Messages parked for want of a route."""

    topic: str
    parked: int
    since: datetime


async def census(conn: Conn, *, now: Now = None) -> list[HandlerCensus]:
    """Every handler's deliveries by state."""
    async with conn.cursor(row_factory=class_row(HandlerCensus)) as cursor:
        await cursor.execute(CENSUS, {"now": now})
        return await cursor.fetchall()


async def relays(conn: Conn) -> list[RelaySeen]:
    """Relays that have been seen."""
    async with conn.cursor(row_factory=class_row(RelaySeen)) as cursor:
        await cursor.execute(LIST_RELAYS)
        return await cursor.fetchall()


async def destinations(conn: Conn) -> list[DestinationState]:
    """Every destination's state."""
    async with conn.cursor(row_factory=class_row(DestinationState)) as cursor:
        await cursor.execute(LIST_DESTINATIONS)
        return await cursor.fetchall()


async def unrouted(conn: Conn) -> list[UnroutedTopic]:
    """Topics with parked messages."""
    async with conn.cursor(row_factory=class_row(UnroutedTopic)) as cursor:
        await cursor.execute(COUNT_UNROUTED)
        return await cursor.fetchall()


async def waiting_delivery(
    conn: Conn, delivery_id: int, *, now: Now = None
) -> Mapping[str, Any] | None:
    """All that decides whether one delivery can be claimed; None when it waits no more."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(EXPLAIN_DELIVERY, {"delivery_id": delivery_id, "now": now})
        return await cursor.fetchone()


async def dead_letter(conn: Conn, delivery_id: int) -> Mapping[str, Any] | None:
    """One dead letter with its message; None when there is none."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(EXPLAIN_DEAD, {"delivery_id": delivery_id})
        return await cursor.fetchone()


async def receipts(
    conn: Conn, delivery_id: int, message_id: int | None = None
) -> list[Mapping[str, Any]]:
    """The trace of one delivery, oldest first."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(LIST_RECEIPTS, {"delivery_id": delivery_id, "message_id": message_id})
        return list(await cursor.fetchall())
