"""Every statement of the engine's hot path as one typed function; the transaction is the caller's.

`now` None means the database's clock. A function of the engine's side of the fence (reading for
people, operators' commands) stands in `outbox.inspection`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from psycopg import AsyncConnection
from psycopg.rows import class_row, tuple_row

from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

Now: TypeAlias = datetime | None
Conn: TypeAlias = AsyncConnection[Any]

PUBLISH_ADDRESSED = load("outbox", "publish_addressed")
CLAIM = load("outbox", "claim")
CLAIM_HELD = load("outbox", "claim_held")
CLAIM_RANKED = load("outbox", "claim_ranked")
HAS_RANKED = load("outbox", "has_ranked")
NEWEST_READY = load("outbox", "newest_ready")
NOTE_BATCH = load("outbox", "note_batch")
LEASE_IDS = load("outbox", "lease_ids")
MARK_SUSPECTS = load("outbox", "mark_suspects")
SETTLE_HELD = load("outbox", "settle_held")
LOCK_KEYS = load("outbox", "lock_keys")
LEASE_RUNS = load("outbox", "lease_runs")
FIND_NEWEST = load("outbox", "find_newest")
LEASE_NEWEST = load("outbox", "lease_newest")
RELEASE_KEYS = load("outbox", "release_keys")
CLOSE_LEASES = load("outbox", "close_leases")
SUPERSEDE_OVERTAKEN = load("outbox", "supersede_overtaken")
CLAIM_LONE = load("outbox", "claim_lone")
HAS_SUSPECT = load("outbox", "has_suspect")
EXPIRE_BEGUN = load("outbox", "expire_begun")
UNCOUNT_ALONE = load("outbox", "uncount_alone")
HOLD_REFUSED = load("outbox", "hold_refused")
RESEND_UNKNOWN = load("outbox", "resend_unknown")
BURY_POISONED = load("outbox", "bury_poisoned")
MARK_BEGUN = load("outbox", "mark_begun")
SETTLE_DONE = load("outbox", "settle_done")
SETTLE_FINAL = load("outbox", "settle_final")
SETTLE_RETRY = load("outbox", "settle_retry")
SETTLE_DEAD = load("outbox", "settle_dead")
SETTLE_UNKNOWN = load("outbox", "settle_unknown")
GIVE_BACK = load("outbox", "give_back")


class Claimed(NamedTuple):
    """A delivery under our lease, with its message still undecoded.

    `run` is how many rows of its key were looked at, where the claim was one of runs. `fresh` says
    that all before it by id had their turn; None: it is of low priority and nothing else was left.
    The first fields are the columns of every claiming statement, in their order.
    """

    id: int
    message_id: int
    key: str | None
    position: int
    attempts: int
    resends: int
    lease_until: datetime
    fresh: bool | None
    topic: str
    version: int
    payload: str
    traceparent: str | None
    message_key: str | None
    sequence: int | None
    correlation_id: str | None
    created_at: datetime
    run: int = 0
    lease_token: UUID | None = None


CLAIMED_COLUMNS = Claimed._fields.index("run")


class Locked(NamedTuple):
    """Keys that are ours, and those in other hands; how far the look came, and if more follows."""

    keys: list[str]
    busy: list[str]
    seen_to: int | None
    more: bool


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
class Decided:
    """A delivery that was decided about without an attempt, with its message."""

    id: int
    message_id: int
    handler: str
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
    """Who claims, for which handler, how much and for how long.

    `reads` are the topics and versions that may be claimed (`topic version`); None for all.
    """

    handler: str
    relay: str
    token: UUID
    limit: int
    lease: timedelta
    now: Now
    reads: list[str] | None = None

    def params(self, **more: Any) -> dict[str, Any]:
        """The named parameters of a claim."""
        return {
            "handler": self.handler, "relay": self.relay, "token": self.token, "limit": self.limit,
            "again_limit": (self.limit + 1) // 2, "lease": self.lease, "now": self.now,
            "reads": self.reads, **more,
        }  # fmt: skip


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
    return await claimed(conn, CLAIM, terms.params(after=after, keyless=keyless), terms.token)


async def claim_held(conn: Conn, terms: ClaimTerms, *, after: int) -> list[Claimed]:
    """Lock due deliveries, with ids as in `claim`, for as long as the transaction lasts."""
    return await claimed(conn, CLAIM_HELD, terms.params(after=after), terms.token)


async def claim_ranked(
    conn: Conn, terms: ClaimTerms, *, after: int, by_age: bool, keyless: bool
) -> list[Claimed]:
    """The same by priority, or `by_age` of whatever priority."""
    params = terms.params(after=after, by_age=by_age, keyless=keyless)
    return await claimed(conn, CLAIM_RANKED, params, terms.token)


async def has_ranked(conn: Conn, *, handler: str) -> bool:
    """Whether anything due since its publication has a priority of its own."""
    return await (await conn.execute(HAS_RANKED, {"handler": handler})).fetchone() is not None


async def newest_ready(conn: Conn, *, handler: str) -> int | None:
    """The highest id of what is due since its publication."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(NEWEST_READY, {"handler": handler})
        row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def note_batch(conn: Conn, terms: ClaimTerms, ids: Sequence[int]) -> None:
    """Note which deliveries are locked, on another connection than the one that locked them."""
    await conn.execute(
        NOTE_BATCH, terms.params(ids=array(ids), first_id=min(ids), last_id=max(ids)), prepare=True
    )


async def lease_ids(conn: Conn, terms: ClaimTerms, ids: Sequence[int]) -> list[Claimed]:
    """Lease what of `ids` nobody else has; the note of the batch becomes their lease."""
    return await claimed(conn, LEASE_IDS, terms.params(ids=list(ids)), terms.token)


async def mark_suspects(conn: Conn, *, handler: str, now: Now) -> None:
    """Leave to `claim_lone` what a worker had locked when it died."""
    await conn.execute(MARK_SUSPECTS, {"handler": handler, "now": now})


async def lock_keys(
    conn: Conn, terms: ClaimTerms, *, again_keys: Sequence[str], **looked: int
) -> Locked:
    """Take the leases of up to `terms.limit` keys with something due in the next `window` rows.

    `looked` are `after`, the low-water mark; `window`; `headed`, whether a key goes by its head;
    `unhandled`, whether by nothing of it being taken; and `blocks`, whether a dead letter keeps
    what follows it.
    """
    params = terms.params(again_keys=list(again_keys), **looked)
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(LOCK_KEYS, params)
        rows = await cursor.fetchall()
    keys = [row[0] for row in rows if row[1] is True]
    busy = [row[0] for row in rows if row[1] is False]
    return Locked(keys, busy, rows[0][2], rows[0][3])


async def lease_runs(
    conn: Conn, terms: ClaimTerms, keys: Sequence[str], *, run_max: int, blocks: bool
) -> list[Claimed]:
    """Lease runs from the heads of keys that are ours, up to `terms.limit` deliveries in all.

    `blocks`: nothing that a dead letter of its key precedes.
    """
    looked = {"run_max": run_max, "look_max": run_max + 1, "blocks": blocks}
    params = terms.params(keys=list(keys), **looked)
    return await claimed(conn, LEASE_RUNS, params, terms.token)


async def claim_lone(conn: Conn, terms: ClaimTerms, *, headed: bool, blocks: bool) -> list[Claimed]:
    """Lease at most one delivery that was taken and not settled; `headed`: the head of a key."""
    params = terms.params(headed=headed, blocks=blocks)
    return await claimed(conn, CLAIM_LONE, params, terms.token)


async def has_suspect(
    conn: Conn, terms: ClaimTerms, *, headed: bool, blocks: bool, probes: bool
) -> bool:
    """Whether a delivery was taken and not settled; `probes`: it may be an open breaker's probe."""
    params = terms.params(headed=headed, blocks=blocks, probes=probes)
    cursor = await conn.execute(HAS_SUSPECT, params)
    return await cursor.fetchone() is not None


async def find_newest(conn: Conn, terms: ClaimTerms, keys: Sequence[str]) -> list[Newest]:
    """The newest delivery of each key that is ours and has no lease out."""
    async with conn.cursor(row_factory=class_row(Newest)) as cursor:
        await cursor.execute(FIND_NEWEST, terms.params(keys=list(keys)))
        return await cursor.fetchall()


async def lease_newest(
    conn: Conn, terms: ClaimTerms, ids: Sequence[int], *, keys: Sequence[str]
) -> list[Claimed]:
    """Lease deliveries chosen before in this transaction; `keys` that got none are given back."""
    params = terms.params(ids=list(ids), keys=list(keys))
    return await claimed(conn, LEASE_NEWEST, params, terms.token)


async def release_keys(conn: Conn, *, handler: str, token: UUID, keys: Sequence[str]) -> None:
    """Give back the leases of keys."""
    await conn.execute(RELEASE_KEYS, {"handler": handler, "token": token, "keys": list(keys)})


async def close_leases(conn: Conn, *, handler: str, now: Now) -> None:
    """Forget expired leases with nothing under them."""
    await conn.execute(CLOSE_LEASES, {"handler": handler, "now": now})


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


async def expire_begun(
    conn: Conn, *, handler: str, relay: str, ids: Sequence[int] | None, now: Now
) -> list[Claimed]:
    """Mark begun calls without a lease (of `ids`, if given) as unknown; what they were."""
    params = {"handler": handler, "relay": relay, "ids": ids, "now": now}
    return await claimed(conn, EXPIRE_BEGUN, params)


async def resend_unknown(conn: Conn, *, ids: Sequence[int], now: Now) -> set[int]:
    """Give held deliveries their one second try; those that had none yet."""
    return await _ids(conn, RESEND_UNKNOWN, {"ids": list(ids), "now": now})


async def bury_poisoned(conn: Conn, **params: Any) -> list[Claimed]:
    """Dead-letter what (of `ids`, if not null) killed its workers too often."""
    return await claimed(conn, BURY_POISONED, params)


async def uncount_alone(conn: Conn, *, ids: Sequence[int], outage: bool) -> set[int]:
    """Forget that these were claimed alone; with `outage` also what has a lease."""
    return await _ids(conn, UNCOUNT_ALONE, {"ids": list(ids), "outage": outage})


async def hold_refused(conn: Conn, *, ids: Sequence[int], **params: Any) -> set[int]:
    """Hold what `record` refuses, if it was claimed alone at least `alone_min` times."""
    return await _ids(conn, HOLD_REFUSED, {"ids": list(ids), **params})


async def mark_begun(
    conn: Conn, *, ids: Sequence[int], token: UUID, may_take: timedelta, now: Now
) -> set[int]:
    """Note that calls are about to begin; those whose lease outlasts what a call may take."""
    params = {"ids": list(ids), "token": token, "may_take": may_take, "now": now}
    return await _ids(conn, MARK_BEGUN, params)


async def give_back(conn: Conn, *, ids: Sequence[int], token: UUID) -> set[int]:
    """Return leases unused; nothing is counted."""
    return await _ids(conn, GIVE_BACK, {"ids": list(ids), "token": token})


async def settle_done(conn: Conn, *, ids: Sequence[int], token: UUID, **params: Any) -> set[int]:
    """Settle what was simply done, all under one token; the ids still held."""
    return await _ids(conn, SETTLE_DONE, {"ids": array(ids), "token": token, **params})


async def settle_held(conn: Conn, *, ids: Sequence[int], token: UUID, **params: Any) -> set[int]:
    """Settle what was simply done and is locked by this transaction; the ids it removed."""
    return await _ids(conn, SETTLE_HELD, {"ids": array(ids), "token": token, **params})


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


async def claimed(
    conn: Conn, statement: Any, params: Mapping[str, Any], token: UUID | None = None
) -> list[Claimed]:
    """Run a claiming statement; its rows, under `token`."""
    rows: list[tuple[Any, ...]]
    async with conn.cursor(row_factory=tuple_row, binary=True) as cursor:
        await cursor.execute(statement, params)
        rows = await cursor.fetchall()
    if rows and len(rows[0]) == CLAIMED_COLUMNS:
        return [Claimed._make((*row, 0, token)) for row in rows]
    return [Claimed._make((*row, token)) for row in rows]


def array(ids: Sequence[int]) -> str:
    """`ids` as PostgreSQL writes an array; psycopg, which looks at each, is ten times slower."""
    return "{" + ",".join(map(str, ids)) + "}"


async def _ids(conn: Conn, statement: Any, params: Mapping[str, Any]) -> set[int]:
    async with conn.cursor(row_factory=tuple_row, binary=True) as cursor:
        await cursor.execute(statement, params)
        return {row[0] for row in await cursor.fetchall()}
