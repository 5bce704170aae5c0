"""A lane: the deliveries of one handler, from claim to settlement, in one process.

Lanes share nothing but the connection pool, so a slow, paused or failing destination delays nobody
else (P8). `run_once` is the whole of a lane's work, bounded; the daemon repeats it, tests drive it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import structlog
from pydantic import ValidationError

from outbox import queries
from outbox.consume import Consumer, VersionUnreadable, decode
from outbox.errors import AttemptError, CredentialsRejected, TransientFailure
from outbox.handler import LEASE_MARGIN, Effect, Order, UnknownPolicy
from outbox.queries import ClaimTerms
from outbox.retry import reason_of
from outbox.saga.reports import UnreadableMessage
from outbox.settlement import CIRCUIT_PROBE_AFTER, Settlement, facts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg_pool import AsyncConnectionPool

    from outbox.app import App
    from outbox.handler import Handler
    from outbox.message import Message
    from outbox.queries import Claimed, Conn, Overtaken
    from outbox.settlement import Ended

log = structlog.get_logger("outbox")

CLAIMS_MAX = 3
"""How often a claim is made when another relay took the same key between its look and its lease."""

SUSPECTS_MAX = 50
"""How many suspects are run alone in one look, so that a stop is heard."""

ONE_LEASE_PER_KEY = "delivery_one_lease_per_key"


class ProcessGate:
    """Lets many batches run at once, or one suspect alone: a killer takes no neighbours along."""

    def __init__(self) -> None:
        self._shared = 0
        self._alone = False
        self._changed = asyncio.Condition()

    async def enter(self) -> None:
        """Begin work that may run beside other work."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._alone)
            self._shared += 1

    async def leave(self) -> None:
        """End it."""
        async with self._changed:
            self._shared -= 1
            self._changed.notify_all()

    async def enter_alone(self) -> None:
        """Wait until nothing runs in this process, and keep it so."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._alone)
            self._alone = True
            try:
                await self._changed.wait_for(lambda: self._shared == 0)
            except BaseException:  # cancelled while waiting: nobody may be kept out for it
                self._alone = False
                self._changed.notify_all()
                raise

    async def leave_alone(self) -> None:
        """Let the others go on."""
        async with self._changed:
            self._alone = False
            self._changed.notify_all()


@dataclass(slots=True)
class Lane:
    """Claims, runs and settles for one handler. `relay` is the name written beside its leases."""

    app: App
    handler: Handler
    pool: AsyncConnectionPool[Any]
    relay: str
    gate: ProcessGate = field(default_factory=ProcessGate)
    random: Random = field(default_factory=Random)
    _after: int = 0
    _full: bool = False
    settlement: Settlement = field(init=False)
    consumer: Consumer = field(init=False)

    def __post_init__(self) -> None:
        """Put together what the lane stands on."""
        self.settlement = Settlement(self.app, self.handler, relay=self.relay, clock=self.app.clock)
        self.consumer = Consumer(self.app, self.handler, self.app.clock, self.random)

    async def run_once(self) -> int:
        """Claim one batch, run it, settle it; how many deliveries it had."""
        await self.gate.enter()  # before the claim: no lease runs out at the gate
        try:
            starts_by = self.starts_by()
            rows = await self.claim(
                self.handler.concurrency if self.calls_out else self.handler.batch_max
            )
            if rows:
                await self._run_batch(rows, starts_by)
        finally:
            await self.gate.leave()
        return len(rows)

    @staticmethod
    def starts_by() -> float:
        """The loop's time until which calls may start under a lease claimed now.

        Later they might outlive it: half of `LEASE_MARGIN` is left for the settlement.
        """
        return asyncio.get_running_loop().time() + LEASE_MARGIN.total_seconds() / 2

    @property
    def calls_out(self) -> bool:
        """Whether its handler's effect is outside our database."""
        return self.handler.effect is not Effect.DATABASE

    def look_everywhere(self) -> None:
        """Let the next claim start at the first id: rows that committed late lie below the mark."""
        self._after = 0

    async def claim(self, limit: int) -> list[Claimed]:
        """Lease up to `limit` due deliveries, by the order the handler asks for."""
        order = self.handler.order
        for _ in range(CLAIMS_MAX):
            try:
                async with self.pool.connection() as conn:
                    return await self._claim(conn, order, self.terms(limit))
            except psycopg.errors.UniqueViolation as error:
                if error.diag.constraint_name != ONE_LEASE_PER_KEY:
                    raise
                if order is Order.NONE:  # keyed when the handler was still an ordered one
                    order = Order.KEYED
        return []

    async def _claim(self, conn: Conn, order: Order, terms: ClaimTerms) -> list[Claimed]:
        match order:
            case Order.NONE:
                rows = await queries.claim(conn, terms, after=self._after if self._full else 0)
                self._full = len(rows) == terms.limit
                self._after = max((row.id for row in rows if row.fresh), default=self._after)
            case Order.KEYED:
                rows = await queries.claim_keyed(conn, terms)
            case Order.NEWEST:
                async with conn.transaction():
                    rows = await self._claim_newest(conn, terms)
                    if (free := terms.limit - len(rows)) > 0:
                        keyless = replace(terms, limit=free)
                        rows += await queries.claim(conn, keyless, after=0, keyless=True)
        return rows

    async def clean_up(self) -> int:
        """Decide about expired leases and open circuits; how many deliveries were looked at."""
        await self._probe_circuit()
        async with self.pool.connection() as conn:
            try:
                if self.handler.effect is Effect.AMBIGUOUS:
                    await self.expire_begun(conn)
                await self.bury_poisoned(conn)
            except psycopg.OperationalError:
                raise
            except Exception as error:  # noqa: BLE001 - a `record` that breaks; the others go on
                name = self.handler.name
                log.error("delivery.settlement_failed", handler=name, **facts_of(error))  # noqa: TRY400
        seen = 0
        while seen < SUSPECTS_MAX and await self._run_suspect():
            seen += 1
        return seen

    def read(self, row: Claimed) -> Message | Ended | None:
        """The message of `row`; an end if its payload lies; None if a newer relay must take it."""
        try:
            return decode(self.app, row)
        except VersionUnreadable:
            log.warning(
                "delivery.version_unreadable",
                handler=self.handler.name,
                topic=row.topic,
                version=row.version,
            )
            return None
        except ValidationError as error:
            return self.consumer.unreadable(row, error)

    async def give_back(self, rows: Sequence[Claimed], wait: timedelta = timedelta(0)) -> None:
        """Return leases unused."""
        if not rows:
            return
        token = token_of(rows[0])
        async with self.pool.connection() as conn:
            await queries.give_back(
                conn,
                ids=[row.id for row in rows],
                token=token,
                wait=wait,
                now=self.app.clock.sql_now(),
            )

    def terms(self, limit: int) -> ClaimTerms:
        """A claim of up to `limit` now, under a token of its own."""
        return ClaimTerms(
            handler=self.handler.name, relay=self.relay, token=uuid4(), limit=limit,
            lease=self.handler.lease, now=self.app.clock.sql_now(),
        )  # fmt: skip

    async def _claim_newest(self, conn: Conn, terms: ClaimTerms) -> list[Claimed]:
        newest = await queries.lock_newest(conn, terms)
        if not newest:
            return []
        overtaken = await queries.supersede_overtaken(conn, terms, newest)
        if overtaken:
            await self.settlement.settle_superseded(
                conn, overtaken, [self._reported(row) for row in overtaken]
            )
        return await queries.lease_ids(conn, terms, [one.id for one in newest if one.due])

    async def expire_begun(self, conn: Conn) -> None:
        """Hold (or send again, once) what began an ambiguous call and lost its lease."""
        async with conn.transaction():
            now = self.app.clock.sql_now()
            lost = await queries.expire_begun(
                conn, handler=self.handler.name, relay=self.relay, now=now
            )
            if not lost:
                return
            log.warning("delivery.outcome_unknown", handler=self.handler.name, count=len(lost))
            resent: set[int] = set()
            if self.handler.unknown is UnknownPolicy.RESEND_ONCE:
                resent = await queries.resend_unknown(conn, ids=[row.id for row in lost], now=now)
            held = [row for row in lost if row.id not in resent]
            await self.settlement.settle_unknown_expired(
                conn, held, [self._reported(row) for row in held]
            )

    async def bury_poisoned(self, conn: Conn) -> None:
        """Give up what was claimed alone too often and never settled."""
        async with conn.transaction():
            buried = await queries.bury_poisoned(
                conn, handler=self.handler.name, relay=self.relay,
                lone_claims_max=self.handler.lone_claims_max, now=self.app.clock.sql_now(),
            )  # fmt: skip
            if buried:
                log.error(
                    "delivery.poison",
                    handler=self.handler.name,
                    delivery_ids=[row.id for row in buried],
                )
                await self.settlement.settle_poisoned(
                    conn, buried, [self._reported(row) for row in buried]
                )

    async def _run_batch(self, rows: Sequence[Claimed], starts_by: float) -> None:
        from outbox import calling, database  # noqa: PLC0415 - they build on this module

        run = calling.run_batch if self.calls_out else database.run_batch
        await run(self, rows, starts_by=starts_by)

    async def _run_suspect(self) -> bool:
        async with self.pool.connection() as conn:
            if not await queries.has_suspect(
                conn, handler=self.handler.name, now=self.app.clock.sql_now()
            ):
                return False
        await self.gate.enter_alone()
        try:
            starts_by = self.starts_by()
            async with self.pool.connection() as conn:
                rows = await queries.claim_lone(conn, self.terms(1))
            if not rows:
                return False
            log.warning("delivery.claimed_alone", handler=self.handler.name, delivery_id=rows[0].id)
            await self._run_batch(rows, starts_by)
        finally:
            await self.gate.leave_alone()
        return True

    async def _probe_circuit(self) -> None:
        if self.handler.check is None:
            return
        async with self.pool.connection() as conn:
            now = self.app.clock.sql_now()
            mine = await queries.take_circuit_probe(
                conn, handler=self.handler.name, probe_after=CIRCUIT_PROBE_AFTER, now=now
            )
        if mine:
            await self.check_credentials()

    async def check_credentials(self) -> AttemptError | None:
        """Run the handler's check and tell its circuit; what was wrong, None if all is well."""
        if self.handler.check is None:
            return None
        try:
            async with asyncio.timeout(self.handler.timeout.total_seconds()):
                await self.handler.check()
        except CredentialsRejected as error:
            async with self.pool.connection() as conn:
                await self.settlement.credentials_rejected(conn, error)
            return error
        except AttemptError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a check that breaks says nothing about us
            return TransientFailure(
                "timeout" if isinstance(error, TimeoutError) else reason_of(error)
            )
        async with self.pool.connection() as conn:
            await self.settlement.credentials_accepted(conn)
        return None

    def _reported(self, row: Claimed | Overtaken) -> Message:
        try:
            return decode(self.app, row)
        except (VersionUnreadable, ValidationError):
            return UnreadableMessage.model_construct()


def token_of(row: Claimed) -> UUID:
    """The token a claimed row carries."""
    assert row.lease_token is not None, "a claimed row carries its token"
    return row.lease_token
