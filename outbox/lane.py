"""A lane: the deliveries of one handler, from claim to settlement, in one process.

Each lane has its own place in the connection pool and shares nothing else, so a slow, paused or
failing destination delays nobody else (P8). The daemon repeats `run_once`, tests drive it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

import structlog
from pydantic import ValidationError

from outbox import queries
from outbox.claiming import Claims
from outbox.connections import Places
from outbox.consume import Consumer, decode
from outbox.credentials import probe_circuit
from outbox.gate import ProcessGate
from outbox.handler import LEASE_MARGIN, Effect
from outbox.leased import LeasedBatch
from outbox.pace import Pace
from outbox.settlement import Ended, Settlement
from outbox.slots import CLAIM_MAX, Slots

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractAsyncContextManager
    from uuid import UUID

    from psycopg_pool import AsyncConnectionPool

    from outbox.app import App
    from outbox.doors import Doors
    from outbox.handler import Handler
    from outbox.held import HeldBatch
    from outbox.message import Message
    from outbox.meter import Meter
    from outbox.queries import Claimed, Conn
    from outbox.suspects import Suspects

log = structlog.get_logger("outbox")

SETTLING_MAX = 6
"""Batches of a calling handler that are under way at once, most of them only to be settled."""

DATABASE_BATCHES_MAX, BACKLOG_BATCHES_MAX = 4, 3
"""Batches of one DATABASE handler that are under way at once in one process."""

SUSPECTS_MAX = 50
"""How many suspects are run alone in one look, so that a stop is heard."""

ROLLED_BACK_MAX = 10_000
"""How many deliveries are remembered that are to be run each on its own."""

Chain: TypeAlias = "list[tuple[Claimed, Message]]"
"""Deliveries to be tried one after the other: a run of a key, or a single one."""


@dataclass(slots=True)
class Lane:
    """Claims, runs and settles for one handler. `relay` is the name written beside its leases."""

    app: App
    handler: Handler
    pool: AsyncConnectionPool[Any]
    relay: str
    gate: ProcessGate = field(default_factory=ProcessGate)
    random: Random = field(default_factory=Random)
    shared: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    doors: Doors | None = None
    settlement: Settlement = field(init=False)
    consumer: Consumer = field(init=False)
    claims: Claims = field(init=False)
    reads: frozenset[tuple[str, int]] = field(init=False)
    places: Places = field(init=False)
    slots: Slots = field(init=False)
    pace: Pace = field(init=False)
    meter: Meter = field(init=False)
    suspects: Suspects | None = None
    """Where suspects are tried; None: in this process, with nothing beside them."""
    losses: dict[int, BaseException] = field(default_factory=dict)
    _uncounted: list[Claimed] = field(default_factory=list)
    _rolled_back: set[int] = field(default_factory=set)
    found_all: bool = False
    """Whether its last claim left nothing that was due, so that only new messages are news."""
    _may_probe: bool = False

    def __post_init__(self) -> None:
        """Put together what the lane stands on."""
        self.settlement = Settlement(self.app, self.handler, relay=self.relay, clock=self.app.clock)
        self.meter = self.settlement.meter
        self.consumer = Consumer(self.app, self.handler, self.app.clock, self.random)
        self.claims = Claims(self.handler, self.pool, self.relay, self.app.clock, self.settlement)
        self.reads = self.handler.reads
        self.places = Places(self.pool, self.shared)
        self.slots = Slots(self.handler.concurrency)
        self.pace = Pace(self.handler, self.app.clock, self.settlement.destination, self.doors)

    async def run_once(self) -> int:
        """Claim one batch, run it, settle it; how many deliveries it had."""
        await self.gate.enter()  # before the claim: no lease runs out at the gate
        try:
            batch = await self.take(self.batch_max)
            if batch is None:
                return 0
            await batch.run()
            return len(batch.rows)
        finally:
            await self.gate.leave()

    async def take(self, limit: int) -> LeasedBatch | HeldBatch | None:
        """Claim up to `limit` deliveries, by the way that is cheapest for them; None for none."""
        limit = self.pace.allowed(limit)
        self.found_all = False
        if not limit:
            return None
        batch = await self._take(limit)
        if batch is not None:
            self.pace.spend(len(batch.rows))
        return batch

    async def _take(self, limit: int) -> LeasedBatch | HeldBatch | None:
        from outbox.held import HeldBatch  # noqa: PLC0415 - it builds on this module
        from outbox.probing import take_probe  # noqa: PLC0415 - as above

        if self._may_probe:
            self._may_probe = False
            if (probe := await take_probe(self)) is not None:
                return probe
        if self.may_hold:
            return await HeldBatch.claim(self, min(limit, self.batch_max))
        starts_by = self.starts_by()
        rows = await self.claims.claim(limit)
        self.meter.claim(self.handler.name, len(rows), limit)
        self.found_all = len(rows) < limit and not self.handler.ordered
        return LeasedBatch(self, rows, starts_by) if rows else None

    def room(self, running: Collection[LeasedBatch | HeldBatch]) -> int:
        """How many deliveries may be taken beside the batches under way; 0 for none now.

        A handler that calls out takes a few at a time, so that statements are shared; a DATABASE
        handler a batch, so that the claim of one overlaps the work on another.
        """
        if not self.calls_out:
            most = BACKLOG_BATCHES_MAX if self.may_hold else DATABASE_BATCHES_MAX
            return self.batch_max if len(running) < most else 0
        if len(running) >= SETTLING_MAX:
            return 0
        return self.slots.free(sum(batch.in_flight for batch in running))

    @property
    def looks_again_in(self) -> float | None:
        """How soon it must look by itself, in seconds, for what no bell tells; None for nothing."""
        return self.slots.looks_again_in

    def to_settle(self) -> AbstractAsyncContextManager[Conn]:
        """A connection to settle on: with a `record`, which may take long, it needs a place."""
        return self.places.connection() if self.settlement.is_heard else self.pool.connection()

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

    @property
    def may_hold(self) -> bool:
        """Whether its next batch is to be claimed, tried and settled in one transaction."""
        plain = not self.calls_out and not self.handler.ordered
        return plain and self.claims.in_backlog and self.places.free

    @property
    def batch_max(self) -> int:
        """How many deliveries it takes at once."""
        terms = self.handler
        return min(terms.concurrency if self.calls_out else terms.batch_max, CLAIM_MAX)

    async def clean_up(self) -> int:
        """Decide about expired leases and open circuits; how many deliveries were looked at."""
        await probe_circuit(self)
        self._may_probe = self.handler.breaks is not None
        await self.tidy()
        if self.suspects is not None:
            await self._send_away(self.suspects)
            return 0
        seen = 0
        while seen < SUSPECTS_MAX and await self.run_suspect():
            seen += 1
        return seen

    async def _send_away(self, suspects: Suspects) -> None:
        """Have what a dead process had taken tried where it can harm nobody, nor delay."""
        async with self.pool.connection() as conn:
            found = await self.claims.has_suspect(conn)
        if found and self.pace.allowed(1):
            most = SUSPECTS_MAX if self.handler.rate is None else 1
            if suspects.have_tried(self.handler.name, at_most=most):
                self.pace.spend(1)

    async def tidy(self) -> None:
        """Decide about what ran out."""
        await self.count_alone()
        async with self.to_settle() as conn:
            await self.decide_expired(conn)

    async def decide_expired(self, conn: Conn) -> None:
        """Say what leases that ran out mean for what is under them."""
        from outbox import expiry  # noqa: PLC0415 - it builds on this module

        await expiry.decide_expired(self, conn)

    def read(self, row: Claimed) -> Message | Ended | None:
        """The message of `row`; an end if its payload lies; None if only other code can read it.

        From then on nothing is claimed that this code cannot read.
        """
        try:
            if (row.topic, row.version) in self.reads:
                return decode(self.app, row)
        except ValidationError as error:
            return self.consumer.unreadable(row, error)
        log.warning(
            "delivery.version_unreadable",
            handler=self.handler.name,
            topic=row.topic,
            version=row.version,
        )
        self.claims.reads = read_by(self.handler)
        return None

    def read_chains(
        self, rows: Sequence[Claimed]
    ) -> tuple[list[Chain], list[Ended], list[Claimed]]:
        """What is to be tried, in chains; what its payload ended; what is left to another relay.

        A chain is broken off at a message that only a newer relay can read, or whose lie ends it
        dead where that blocks its key.
        """
        chains: list[Chain] = []
        lying: list[Ended] = []
        left: list[Claimed] = []
        cut: str | None = None
        for row in rows:
            key = row.key
            if key is not None and key == cut:
                left.append(row)
                continue
            match self.read(row):
                case None:
                    left.append(row)
                    cut = key
                case Ended() as end:
                    lying.append(end)
                    cut = key if self.handler.stops_at(end.outcome) else cut
                case message if key is not None and chains and chains[-1][0][0].key == key:
                    chains[-1].append((row, message))
                case message:
                    chains.append([(row, message)])
        return chains, lying, left

    async def give_back(
        self, rows: Sequence[Claimed], *, keep: Collection[str | None] = ()
    ) -> None:
        """Return leases unused, and those of their keys but for the keys to `keep`."""
        if not rows:
            return
        self.found_all = False
        token = token_of(rows[0])
        async with self.pool.connection() as conn, conn.transaction():
            await queries.give_back(conn, ids=[row.id for row in rows], token=token)
            if keys := keys_of(rows).difference(keep):
                await queries.release_keys(
                    conn, handler=self.handler.name, token=token, keys=sorted(keys)
                )

    async def release(self, rows: Sequence[Claimed]) -> None:
        """Give back what keys a batch still holds; its deliveries have all ended or gone back."""
        if keys := keys_of(rows):
            async with self.pool.connection() as conn:
                await queries.release_keys(
                    conn, handler=self.handler.name, token=token_of(rows[0]), keys=sorted(keys)
                )

    async def run_batch(
        self,
        rows: Sequence[Claimed],
        starts_by: float,
        *,
        over: Callable[[], None] = lambda: None,
    ) -> None:
        """Run and settle what was claimed; calls start until the loop's time is `starts_by`.

        `over` is called as each call to the outside has ended.
        """
        from outbox import calling, database  # noqa: PLC0415 - they build on this module

        if self.calls_out:
            await calling.run_batch(self, rows, starts_by=starts_by, over=over)
        else:
            # what was rolled back too late to be run singly is claimed again, and then it is
            ids = {row.id for row in rows}
            together = self._rolled_back.isdisjoint(ids)
            self._rolled_back -= ids
            if await database.run_leased(self, rows, starts_by=starts_by, together=together):
                # of others, which other relays may have had by now, not too many are remembered
                many = len(self._rolled_back) > ROLLED_BACK_MAX
                self._rolled_back = ids if many else self._rolled_back | ids

    def lose(self, ids: Sequence[int], error: BaseException) -> None:
        """Note why the ends of deliveries could not be written; what was run alone is asked for."""
        alone = {row.id for row in self._uncounted}
        self.losses.update(dict.fromkeys(alone.intersection(ids), error))

    async def count_alone(self) -> int:
        """Say of each that was run alone what that means; after an outage, when it is over."""
        from outbox import expiry  # noqa: PLC0415 - it builds on this module

        said = len(self._uncounted)
        while self._uncounted:
            await expiry.count_alone(self, self._uncounted[0])
            del self._uncounted[0]
        return said

    async def run_suspect(self) -> bool:
        """Try one suspect with nothing beside it in this process; False where there is none."""
        from outbox import expiry  # noqa: PLC0415 - it builds on this module

        async with self.pool.connection() as conn:
            if not await self.claims.has_suspect(conn):
                return False
        if not self.pace.allowed(1):
            return False
        await self.gate.enter_alone()
        try:
            starts_by = self.starts_by()
            async with self.pool.connection() as conn:
                rows = await self.claims.claim_alone(conn)
            if not rows:
                return False
            self.pace.spend(1)
            log.warning("delivery.claimed_alone", handler=self.handler.name, delivery_id=rows[0].id)
            self._uncounted.append(rows[0])
            try:
                await self.run_batch(rows, starts_by)
            except expiry.OUTAGES as error:
                self.lose([rows[0].id], error)
                raise
            await self.count_alone()
        finally:
            await self.gate.leave_alone()
        return True


def read_by(handler: Handler) -> list[str]:
    """What the code of `handler` reads, as claims and queues are told."""
    return sorted(f"{topic} {version}" for topic, version in handler.reads)


def keys_of(rows: Sequence[Claimed]) -> set[str]:
    """The ordering keys of claimed rows."""
    return {row.key for row in rows if row.key is not None}


def token_of(row: Claimed) -> UUID:
    """The token a claimed row carries."""
    assert row.lease_token is not None, "a claimed row carries its token"
    return row.lease_token
