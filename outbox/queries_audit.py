"""What the self-audit reads; `now` None means the database's clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from outbox.statements import load

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from outbox.queries import Conn, Now

AUDIT_FRONT = load("outbox", "audit_front")
AUDIT_KEYS = load("outbox", "audit_keys")


@dataclass(frozen=True, slots=True)
class Front:
    """Of one handler: what is due longest in nobody's hands, what is unknown longest."""

    handler: str
    application: str | None
    front_id: int | None
    front_since: datetime | None
    front_keyed: bool | None
    unknown_id: int | None
    unknown_since: datetime | None
    paused: bool
    circuit_open: bool
    breaker_open: bool
    throttled: bool
    held: bool
    now: datetime
    relay_alive: bool

    @property
    def closed_by(self) -> str | None:
        """What keeps all of the handler's deliveries, if anything."""
        if self.paused:
            return "paused"
        if self.circuit_open:
            return "circuit open"
        if self.breaker_open:
            return "breaker open"
        if self.held:
            return "held"
        return "rate empty" if self.throttled else None


@dataclass(frozen=True, slots=True)
class Keys:
    """Of some keys: what may go and is due longest, what waits longest, where to go on."""

    free_id: int | None
    free_since: datetime | None
    waiting_id: int | None
    waiting_since: datetime | None
    seen_to: str | None


async def fronts(conn: Conn, *, grace: timedelta, window: int, now: Now) -> list[Front]:
    """The front of every handler's queue."""
    async with conn.cursor(row_factory=class_row(Front)) as cursor:
        await cursor.execute(AUDIT_FRONT, {"grace": grace, "window": window, "now": now})
        return await cursor.fetchall()


async def keys(  # noqa: PLR0913 - the terms of one look, all named
    conn: Conn,
    *,
    handler: str,
    after: str,
    window: int,
    headed: bool,
    blocks: bool,
    grace: timedelta,
    now: Now,
) -> Keys:
    """The first of each of the `window` keys above `after`; with `after` empty also the keyless."""
    params = {
        "handler": handler, "after": after, "window": window, "headed": headed, "blocks": blocks,
        "grace": grace, "now": now,
    }  # fmt: skip
    async with conn.cursor(row_factory=class_row(Keys)) as cursor:
        await cursor.execute(AUDIT_KEYS, params)
        found = await cursor.fetchone()
    assert found is not None, "the statement has one row"
    return found
