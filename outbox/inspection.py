"""Looking at the engine from outside: depth, census, why one delivery waits. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row, dict_row, tuple_row

from outbox.statements import load, rows_of

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
DEPTH = load("outbox", "depth")
RECENT_RATE = load("outbox", "recent_rate")
DELIVERIES_OF_MESSAGE = load("outbox", "deliveries_of_message")


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
class HandlerDepth:
    """How many deliveries of one handler wait, are leased, unknown or dead."""

    handler: str
    pending: int
    leased: int
    unknown: int
    dead: int


@dataclass(frozen=True, slots=True)
class RelaySeen:
    """A relay that has said it lives, `unseen_for` ago."""

    id: str
    started_at: datetime
    seen_at: datetime
    handlers: list[str]
    asleep_until: datetime | None
    version: str | None
    clock_skew: timedelta | None
    unseen_for: timedelta
    hands_over: bool
    """Whether it gives what it claims to workers, by tickets."""
    trouble: str | None
    """What keeps it from handing over."""


@dataclass(frozen=True, slots=True)
class DestinationState:
    """What a handler's claims are told: paused, held, credentials rejected, failing."""

    handler: str
    paused_at: datetime | None
    paused_by: str | None
    paused_why: str | None
    held_until: datetime | None
    held_reason: str | None
    circuit_opened_at: datetime | None
    circuit_reason: str | None
    circuit_probe_at: datetime | None
    breaker_opened_at: datetime | None
    breaker_reason: str | None
    breaker_probe_at: datetime | None
    breaker_probing: bool

    def word(self, now: datetime) -> str:
        """Its state in one word."""
        if self.paused_at is not None:
            return "paused"
        if self.circuit_opened_at is not None:
            return "circuit open"
        if self.breaker_opened_at is not None:
            return "breaker open"
        return "held" if self.held_until is not None and self.held_until > now else "open"


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


async def depths(conn: Conn) -> list[HandlerDepth]:
    """Every handler's deliveries that are not done; receipts are not counted."""
    return await rows_of(conn, HandlerDepth, DEPTH)


async def recent_rates(conn: Conn, *, span: timedelta, limit: int, now: Now) -> dict[str, float]:
    """Of each handler, deliveries per second in the last `span`, of the newest `limit` receipts."""
    params = {"span": span, "limit": limit, "now": now}
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(RECENT_RATE, params)
        return {
            handler: settled / max(over.total_seconds(), 1.0)
            for handler, settled, over in await cursor.fetchall()
        }


async def relays(conn: Conn) -> list[RelaySeen]:
    """Relays that have been seen."""
    return await rows_of(conn, RelaySeen, LIST_RELAYS)


async def destinations(conn: Conn) -> list[DestinationState]:
    """Every destination's state."""
    return await rows_of(conn, DestinationState, LIST_DESTINATIONS)


async def unrouted(conn: Conn) -> list[UnroutedTopic]:
    """Topics with parked messages."""
    return await rows_of(conn, UnroutedTopic, COUNT_UNROUTED)


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


async def deliveries_of_message(conn: Conn, message_id: int) -> Mapping[str, Any] | None:
    """A message's topic, its deliveries' ids and whether it is parked; None when it is unknown."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(DELIVERIES_OF_MESSAGE, {"message_id": message_id})
        return await cursor.fetchone()


async def receipts(
    conn: Conn, delivery_id: int, message_id: int | None = None
) -> list[Mapping[str, Any]]:
    """The trace of one delivery, oldest first."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(LIST_RECEIPTS, {"delivery_id": delivery_id, "message_id": message_id})
        return list(await cursor.fetchall())
