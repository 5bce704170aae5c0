"""Every statement of the engine's hot path as one typed function; the transaction is the caller's.

`now` None means the database's clock. A function of the engine's side of the fence (reading for
people, operators' commands) stands in `outbox.inspection`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from psycopg import AsyncConnection, Connection
from psycopg.rows import class_row, tuple_row

from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy.engine import Connection as SqlConnection

Now: TypeAlias = datetime | None
Conn: TypeAlias = AsyncConnection[Any]
PublishedRow: TypeAlias = tuple[int | None, bool, int, str | None]

PUBLISH_MESSAGES = load("outbox", "publish_messages")
PUBLISH_ADDRESSED = load("outbox", "publish_addressed")
CLAIM = load("outbox", "claim")
CLAIM_KEYED = load("outbox", "claim_keyed")
LOCK_NEWEST = load("outbox", "lock_newest")
LEASE_IDS = load("outbox", "lease_ids")
SUPERSEDE_OVERTAKEN = load("outbox", "supersede_overtaken")
CLAIM_LONE = load("outbox", "claim_lone")
HAS_SUSPECT = load("outbox", "has_suspect")
EXPIRE_BEGUN = load("outbox", "expire_begun")
RESEND_UNKNOWN = load("outbox", "resend_unknown")
BURY_POISONED = load("outbox", "bury_poisoned")
MARK_BEGUN = load("outbox", "mark_begun")
SETTLE_FINAL = load("outbox", "settle_final")
SETTLE_RETRY = load("outbox", "settle_retry")
SETTLE_DEAD = load("outbox", "settle_dead")
SETTLE_UNKNOWN = load("outbox", "settle_unknown")
GIVE_BACK = load("outbox", "give_back")
REGISTER_HANDLER = load("outbox", "register_handler")
REGISTER_ROUTE = load("outbox", "register_route")
ADOPT_UNROUTED = load("outbox", "adopt_unrouted")
HOLD_DESTINATION = load("outbox", "hold_destination")
OPEN_CIRCUIT = load("outbox", "open_circuit")
TAKE_CIRCUIT_PROBE = load("outbox", "take_circuit_probe")
CLOSE_CIRCUIT = load("outbox", "close_circuit")
BEAT = load("outbox", "beat")
LEAVE = load("outbox", "leave")

PUBLISH_COLUMNS = (
    "topics", "payloads", "keys", "dedup_keys", "due_ats", "sequences", "correlation_ids",
    "versions", "headers", "priorities", "dedup_windows",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery under our lease, with its message still undecoded."""

    id: int
    message_id: int
    key: str | None
    position: int
    attempts: int
    resends: int
    lease_until: datetime
    fresh: bool
    topic: str
    version: int
    payload: str
    traceparent: str | None
    message_key: str | None
    sequence: int | None
    correlation_id: str | None
    created_at: datetime
    lease_token: UUID | None = None


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest delivery of a key; `due` False while it waits for its backoff."""

    id: int
    key: str
    position: int
    due: bool


@dataclass(frozen=True, slots=True)
class Overtaken:
    """A delivery that a newer one has made pointless, already settled."""

    id: int
    message_id: int
    attempts: int
    topic: str
    version: int
    payload: str
    message_key: str | None
    sequence: int | None
    correlation_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ClaimTerms:
    """Who claims, for which handler, how much and for how long."""

    handler: str
    relay: str
    token: UUID
    limit: int
    lease: timedelta
    now: Now

    def params(self, **more: Any) -> dict[str, Any]:
        """The named parameters of a claim."""
        return {
            "handler": self.handler, "relay": self.relay, "token": self.token, "limit": self.limit,
            "again_limit": (self.limit + 1) // 2, "lease": self.lease, "now": self.now, **more,
        }  # fmt: skip


def publish_sync(
    conn: Connection[Any], rows: Mapping[str, Any], now: Now = None
) -> list[PublishedRow]:
    """Publish columns of rows on a sync connection."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(PUBLISH_MESSAGES, {**rows, "now": now}).fetchall()


async def publish_async(conn: Conn, rows: Mapping[str, Any], now: Now = None) -> list[PublishedRow]:
    """Publish columns of rows on an async connection."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(PUBLISH_MESSAGES, {**rows, "now": now})
        return await cursor.fetchall()


def publish_sqlalchemy(
    conn: SqlConnection, rows: Mapping[str, Any], now: Now = None
) -> list[PublishedRow]:
    """Publish columns of rows through SQLAlchemy, on its psycopg driver."""
    result = conn.exec_driver_sql(PUBLISH_MESSAGES, {**rows, "now": now})
    return [(row[0], row[1], row[2], row[3]) for row in result]


async def publish_addressed(conn: Conn, **params: Any) -> int:
    """Publish one message to one handler; its id."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(PUBLISH_ADDRESSED, params)
        row = await cursor.fetchone()
    assert row is not None, "the statement returns the row it inserts"
    return int(row[0])


async def claim(
    conn: Conn, terms: ClaimTerms, *, after: int, keyless: bool = False
) -> list[Claimed]:
    """Lease due deliveries with ids above `after` (retries of any id), in no order of keys."""
    return await _claimed(conn, CLAIM, terms.params(after=after, keyless=keyless))


async def claim_keyed(conn: Conn, terms: ClaimTerms) -> list[Claimed]:
    """Lease the heads of keys of an ordered handler."""
    return await _claimed(conn, CLAIM_KEYED, terms.params())


async def claim_lone(conn: Conn, terms: ClaimTerms) -> list[Claimed]:
    """Lease at most one delivery that was taken and not settled."""
    return await _claimed(conn, CLAIM_LONE, terms.params())


async def has_suspect(conn: Conn, *, handler: str, now: Now) -> bool:
    """Whether a delivery was taken and not settled."""
    cursor = await conn.execute(HAS_SUSPECT, {"handler": handler, "now": now})
    return await cursor.fetchone() is not None


async def lock_newest(conn: Conn, terms: ClaimTerms) -> list[Newest]:
    """The newest delivery of each key with something due; the keys stay locked till commit."""
    async with conn.cursor(row_factory=class_row(Newest)) as cursor:
        await cursor.execute(LOCK_NEWEST, terms.params())
        return await cursor.fetchall()


async def lease_ids(conn: Conn, terms: ClaimTerms, ids: Sequence[int]) -> list[Claimed]:
    """Lease deliveries chosen before in this transaction."""
    return await _claimed(conn, LEASE_IDS, terms.params(ids=list(ids)))


async def supersede_overtaken(
    conn: Conn, terms: ClaimTerms, newest: Sequence[Newest]
) -> list[Overtaken]:
    """Settle everything below each key's newest as superseded."""
    params = {
        "keys": [n.key for n in newest], "positions": [n.position for n in newest],
        "ids": [n.id for n in newest], "handler": terms.handler, "relay": terms.relay,
        "now": terms.now,
    }  # fmt: skip
    async with conn.cursor(row_factory=class_row(Overtaken)) as cursor:
        await cursor.execute(SUPERSEDE_OVERTAKEN, params)
        return await cursor.fetchall()


async def expire_begun(conn: Conn, *, handler: str, relay: str, now: Now) -> list[Claimed]:
    """Mark begun calls without a lease as unknown; what they were."""
    return await _claimed(conn, EXPIRE_BEGUN, {"handler": handler, "relay": relay, "now": now})


async def resend_unknown(conn: Conn, *, ids: Sequence[int], now: Now) -> set[int]:
    """Give held deliveries their one second try; those that had none yet."""
    return await _ids(conn, RESEND_UNKNOWN, {"ids": list(ids), "now": now})


async def bury_poisoned(
    conn: Conn, *, handler: str, relay: str, lone_claims_max: int, now: Now
) -> list[Claimed]:
    """Dead-letter what killed its workers too often."""
    params = {"handler": handler, "relay": relay, "lone_claims_max": lone_claims_max, "now": now}
    return await _claimed(conn, BURY_POISONED, params)


async def mark_begun(
    conn: Conn, *, ids: Sequence[int], token: UUID, may_take: timedelta, now: Now
) -> set[int]:
    """Note that calls are about to begin; those whose lease outlasts what a call may take."""
    params = {"ids": list(ids), "token": token, "may_take": may_take, "now": now}
    return await _ids(conn, MARK_BEGUN, params)


async def give_back(
    conn: Conn, *, ids: Sequence[int], token: UUID, wait: timedelta, now: Now
) -> set[int]:
    """Return leases unused, due again after `wait`."""
    return await _ids(conn, GIVE_BACK, {"ids": list(ids), "token": token, "wait": wait, "now": now})


async def settle(
    conn: Conn, statement: str, rows: Sequence[Mapping[str, Any]], **params: Any
) -> set[int]:
    """Run a settling statement (`final`, `retry`, `dead`, `unknown`); the ids still held."""
    columns = {f"{name}s": [row[name] for row in rows] for name in rows[0]}
    return await _ids(conn, SETTLING[statement], {**columns, **params})


SETTLING = {
    "final": SETTLE_FINAL,
    "retry": SETTLE_RETRY,
    "dead": SETTLE_DEAD,
    "unknown": SETTLE_UNKNOWN,
}


async def register(
    conn: Conn, handlers: Sequence[str], routes: Sequence[tuple[str, str, bool]]
) -> None:
    """Add what is missing of handlers and routes."""
    async with conn.cursor() as cursor:
        await cursor.executemany(REGISTER_HANDLER, [{"handler": name} for name in handlers])
        await cursor.executemany(
            REGISTER_ROUTE,
            [
                {"topic": topic, "handler": name, "ordered": ordered}
                for topic, name, ordered in routes
            ],
        )


async def adopt_unrouted(conn: Conn) -> int:
    """Deliver up to 1,000 parked messages whose topic has a route by now; how many."""
    return await _one_int(conn, ADOPT_UNROUTED, {})


async def hold_destination(
    conn: Conn, *, handler: str, wait: timedelta, reason: str, now: Now
) -> datetime | None:
    """Hold a destination; the new end, or None when it was held longer already."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(
            HOLD_DESTINATION, {"handler": handler, "wait": wait, "reason": reason, "now": now}
        )
        row = await cursor.fetchone()
    return None if row is None else row[0]


async def open_circuit(
    conn: Conn, *, handler: str, reason: str, probe_after: timedelta, now: Now
) -> bool:
    """Open the credential circuit; True for the one that did."""
    params = {"handler": handler, "reason": reason, "probe_after": probe_after, "now": now}
    return (await conn.execute(OPEN_CIRCUIT, params)).rowcount > 0


async def take_circuit_probe(conn: Conn, *, handler: str, probe_after: timedelta, now: Now) -> bool:
    """Whether it is ours to check the credentials now."""
    params = {"handler": handler, "probe_after": probe_after, "now": now}
    return (await conn.execute(TAKE_CIRCUIT_PROBE, params)).rowcount > 0


async def close_circuit(conn: Conn, *, handler: str) -> bool:
    """Close the credential circuit; True for the one that did."""
    return (await conn.execute(CLOSE_CIRCUIT, {"handler": handler})).rowcount > 0


async def beat(conn: Conn, *, relay: str, handlers: Sequence[str], asleep: bool) -> None:
    """Say that this relay lives, and whether it wants the bell."""
    await conn.execute(BEAT, {"relay": relay, "handlers": list(handlers), "asleep": asleep})


async def leave(conn: Conn, *, relay: str) -> None:
    """Take this relay's row away."""
    await conn.execute(LEAVE, {"relay": relay})


async def _claimed(conn: Conn, statement: Any, params: Mapping[str, Any]) -> list[Claimed]:
    async with conn.cursor(row_factory=class_row(Claimed)) as cursor:
        await cursor.execute(statement, params)
        return await cursor.fetchall()


async def _ids(conn: Conn, statement: Any, params: Mapping[str, Any]) -> set[int]:
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(statement, params)
        return {row[0] for row in await cursor.fetchall()}


async def _one_int(conn: Conn, statement: Any, params: Mapping[str, Any]) -> int:
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(statement, params)
        row = await cursor.fetchone()
    return 0 if row is None else int(row[0])
