"""Statements by which processes tell each other things: routes, destinations, who is alive.

The transaction is the caller's; `now` None means the database's clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.rows import tuple_row

from outbox.errors import HandlerTaken
from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from psycopg import AsyncCursor

    from outbox.app import App
    from outbox.breaker import Breaker
    from outbox.queries import ClaimTerms, Conn, Now

REGISTER_HANDLER = load("outbox", "register_handler")
REGISTER_ROUTE = load("outbox", "register_route")
LIST_TAKEN = load("outbox", "list_taken")
ADOPT_HANDLERS = load("outbox", "adopt_handlers")
LIST_TABLES = load("outbox", "list_tables")
ADOPT_UNROUTED = load("outbox", "adopt_unrouted")
HOLD_DESTINATION = load("outbox", "hold_destination")
OPEN_CIRCUIT = load("outbox", "open_circuit")
TAKE_CIRCUIT_PROBE = load("outbox", "take_circuit_probe")
CLOSE_CIRCUIT = load("outbox", "close_circuit")
OPEN_DESTINATIONS = load("outbox", "open_destinations")
NOTE_FAILURES = load("outbox", "note_failures")
LOCK_BREAKER = load("outbox", "lock_breaker")
TAKE_BREAKER_PROBE = load("outbox", "take_breaker_probe")
FIND_PROBE = load("outbox", "find_probe")
KEEP_BREAKER_OPEN = load("outbox", "keep_breaker_open")
LEAVE_BREAKER_PROBE = load("outbox", "leave_breaker_probe")
CLOSE_BREAKER = load("outbox", "close_breaker")
FORGET_BREAKER = load("outbox", "forget_breaker")
BEAT = load("outbox", "beat")
LEAVE = load("outbox", "leave")


async def register(conn: Conn, app: App) -> None:
    """Add what is missing of the application's handlers and routes.

    Raises `HandlerTaken` where a name belongs to another application; roll back then.
    """
    names = sorted(app.handlers)
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.executemany(
            REGISTER_HANDLER, [{"handler": name, "application": app.name} for name in names]
        )
        await cursor.execute(LIST_TAKEN, {"handlers": names, "application": app.name})
        taken = await cursor.fetchall()
        if taken:
            raise HandlerTaken(app.name, dict(taken))
        await cursor.executemany(
            REGISTER_ROUTE,
            [
                {"topic": topic, "handler": name, "ordered": ordered}
                for topic, name, ordered in app.routes()
            ],
        )


async def adopt_handlers(
    conn: Conn, *, handlers: Sequence[str], owner: str, application: str
) -> list[str]:
    """Pass `handlers` on from `owner` to `application`; those that were the owner's."""
    params = {"handlers": list(handlers), "owner": owner, "application": application}
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(ADOPT_HANDLERS, params)
        return sorted(row[0] for row in await cursor.fetchall())


async def engine_tables(conn: Conn) -> set[str]:
    """Every table, view and sequence in the engine's schema."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(LIST_TABLES)
        return {str(row[0]) for row in await cursor.fetchall()}


async def adopt_unrouted(conn: Conn) -> int:
    """Deliver up to 1,000 parked messages whose topic has a route by now; how many."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(ADOPT_UNROUTED, {})
        row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


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


async def open_destinations(conn: Conn, *, now: Now) -> frozenset[str]:
    """The handlers whose calls may begin now."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(OPEN_DESTINATIONS, {"now": now})
        return frozenset(row[0] for row in await cursor.fetchall())


async def note_failures(
    conn: Conn, *, handler: str, ids: Sequence[int], breaker: Breaker, **params: Any
) -> datetime | None:
    """Remember failures; the time of the first probe if they have just opened the breaker.

    Where what others have committed is not enough, it counts again after those that count now: of
    settlements at once, each of which sees only its own failures, the last one sees all.
    """
    params |= {
        "handler": handler, "ids": list(ids), "within": breaker.window,
        "failures_min": breaker.failures_min, "probe_after": breaker.probe_after,
    }  # fmt: skip
    async with conn.cursor(row_factory=tuple_row) as cursor:
        probe_at, few = await _noted(cursor, params)
        if few and (await cursor.execute(LOCK_BREAKER, params)).rowcount > 0:
            probe_at, _ = await _noted(cursor, params)
    return probe_at


async def _noted(
    cursor: AsyncCursor[tuple[Any, ...]], params: Mapping[str, Any]
) -> tuple[datetime | None, bool]:
    await cursor.execute(NOTE_FAILURES, params)
    row = await cursor.fetchone()
    assert row is not None, "a count has one row"
    return row[0], row[1]


async def take_breaker_probe(conn: Conn, terms: ClaimTerms) -> bool:
    """Whether the claim of these terms is the probe of its handler's open breaker."""
    return (await conn.execute(TAKE_BREAKER_PROBE, terms.params())).rowcount > 0


async def find_probe(conn: Conn, terms: ClaimTerms, *, limit: int) -> list[tuple[int, str | None]]:
    """Ids and keys of what a probe may try, the best first."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(FIND_PROBE, terms.params() | {"limit": limit})
        return await cursor.fetchall()


async def leave_breaker_probe(conn: Conn, terms: ClaimTerms) -> None:
    """Leave the probe to the next who finds something to try."""
    await conn.execute(LEAVE_BREAKER_PROBE, terms.params())


async def keep_breaker_open(conn: Conn, *, breaker: Breaker, **params: Any) -> None:
    """Give the probe back; after one that failed the next comes later."""
    waits = {"probe_after": breaker.probe_after, "probe_after_max": breaker.probe_after_max}
    await conn.execute(KEEP_BREAKER_OPEN, params | waits)


async def close_breaker(conn: Conn, **params: Any) -> bool:
    """Close the breaker and bring what had failed forward; False where the probe was lost."""
    return (await conn.execute(CLOSE_BREAKER, params)).rowcount > 0


async def forget_breaker(conn: Conn, *, handler: str) -> bool:
    """Close the breaker of a handler that has none; True for the one that did."""
    return (await conn.execute(FORGET_BREAKER, {"handler": handler})).rowcount > 0


async def beat(  # noqa: PLR0913 - what a relay tells of itself
    conn: Conn,
    *,
    relay: str,
    handlers: Sequence[str],
    asleep: bool,
    version: str,
    host_now: datetime,
    throttled: Sequence[str] = (),
    hands_over: bool = False,
    trouble: str | None = None,
) -> None:
    """Say that this relay lives, whether it wants the bell, and whose rate is used up.

    `host_now` is its machine's clock; `trouble` keeps it from handing over to workers.
    """
    params = {
        "relay": relay, "handlers": list(handlers), "asleep": asleep, "version": version,
        "host_now": host_now, "throttled": list(throttled), "hands_over": hands_over,
        "trouble": trouble,
    }  # fmt: skip
    await conn.execute(BEAT, params)


async def leave(conn: Conn, *, relay: str) -> None:
    """Take this relay's row away."""
    await conn.execute(LEAVE, {"relay": relay})
