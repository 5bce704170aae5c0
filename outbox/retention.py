"""How long what has ended is kept, and deleting it afterwards, a little at a time.

Nothing is deleted that anything waits for: a message stays as long as a delivery (a timer is one),
a dead letter or a parked message points to it, which the database holds every delete to, and
receipts stay as long as their message. Deletes are bounded statements in transactions of their own
that wait for nobody, on a connection of their own, one process at a time, with pauses in between.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import structlog
from psycopg import AsyncConnection

from outbox import queries_retention as queries
from outbox.durations import wrong_with
from outbox.errors import ConfigurationError
from outbox.settlement import facts_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from outbox.app import App
    from outbox.queries import Conn, Now
    from outbox.queries_retention import Looked

log = structlog.get_logger("outbox")

WINDOW = 2_000
"""How many rows one statement looks at."""

SAGAS_WINDOW = 100
"""The same for saga instances, each of which brings its timeline."""

PRUNE_EVERY_SECONDS = 3_600.0

_BOUNDS = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled)
"""What ends a statement that waited or took too long; what else is operational is an outage."""

REST_SHARE = 4
"""After a statement a relay rests this many times as long as it took."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long is kept what nobody waits for any more.

    `messages` counts from the publication, `receipts` from the settlement (never less than
    `messages`: they tell who has had a message), `sagas` from the end of an instance. Dedup keys go
    by their own window. Raises `ConfigurationError`.
    """

    messages: timedelta = timedelta(days=30)
    receipts: timedelta = timedelta(days=90)
    sagas: timedelta = timedelta(days=365)

    def __post_init__(self) -> None:
        """Refuse terms that contradict each other."""
        for term in ("messages", "receipts", "sagas"):
            if (wrong := wrong_with(getattr(self, term))) is not None:
                raise ConfigurationError(f"retention: {term} {wrong}")
        if self.receipts < self.messages:
            raise ConfigurationError(
                f"retention: receipts are kept for {self.receipts} and messages for "
                f"{self.messages}; give receipts as long at least, they tell who has had a message"
            )


async def prune(
    conn: Conn,
    retention: Retention,
    *,
    now: Now,
    rest: Callable[[float], Awaitable[bool]],
    dry_run: bool = False,
) -> Counter[str]:
    """Delete what was kept long enough; how many rows of each kind.

    `rest` is called after each statement with the seconds it took; False ends it. A statement that
    the database refuses ends its kind, and so does another process that is pruning.
    """
    loop = asyncio.get_running_loop()
    gone: Counter[str] = Counter()
    for kind, look in _looks(conn, retention, now).items():
        place: Any = None
        while True:
            began = loop.time()
            try:
                async with conn.transaction(force_rollback=dry_run):
                    if not await queries.take_prune_turn(conn):
                        return gone
                    looked = await look(place)
            except psycopg.Error as error:  # somebody's delivery or lock, say
                if isinstance(error, psycopg.OperationalError) and not isinstance(error, _BOUNDS):
                    raise
                log.error("retention.refused", kind=kind, **facts_of(error))  # noqa: TRY400
                break
            gone[kind] += looked.gone
            if not await rest(loop.time() - began):
                return gone
            if (place := looked.to) is None:
                break
    return gone


def _looks(
    conn: Conn, retention: Retention, now: Now
) -> dict[str, Callable[[Any], Awaitable[Looked]]]:
    """What is pruned, in this order: receipts go after their messages."""

    def by_id(kind: str, keep: timedelta, window: int) -> Callable[[Any], Awaitable[Looked]]:
        return lambda place: queries.prune_by_id(
            conn, kind, after=place, keep=keep, window=window, now=now
        )

    return {
        "messages": by_id("messages", retention.messages, WINDOW),
        "receipts": by_id("receipts", retention.receipts, WINDOW),
        "dedup_keys": lambda place: queries.prune_dedup(conn, after=place, window=WINDOW, now=now),
        "sagas": by_id("sagas", retention.sagas, SAGAS_WINDOW),
        "leases": lambda _: queries.prune_leases(conn, now=now),
    }


async def keep_pruning(app: App, dsn: str, stop: asyncio.Event, random: Random) -> None:
    """Prune once an hour until `stop` is set; relays begin at different moments."""
    if app.retention is None:
        return
    wait = PRUNE_EVERY_SECONDS * random.random()
    while not await _stopped(stop, wait):
        wait = PRUNE_EVERY_SECONDS
        try:
            async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
                gone = await prune(
                    conn, app.retention, now=app.clock.sql_now(),
                    rest=lambda took: _rested(stop, took),
                )  # fmt: skip
        except (psycopg.OperationalError, OSError) as error:
            log.warning("retention.database_failed", **facts_of(error))
            continue
        if any(gone.values()):
            log.info("retention.pruned", **gone)


async def _rested(stop: asyncio.Event, took: float) -> bool:
    return not await _stopped(stop, REST_SHARE * took)


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True
