"""Claims of one handler in one process: where to look, which keys to go on with, what to lease.

A low-water mark keeps a claim from walking over the dead rows at the head of an index. Ids are
drawn before their transaction commits, so what is below the mark is looked at again: all of it
every few seconds, and what was drawn lately by every claim that is not part of a backlog.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from psycopg import Rollback

from outbox import queries, queries_cluster
from outbox.crash_points import CrashPoint, reach
from outbox.handler import Effect, Order
from outbox.low_water import LowWater
from outbox.outcome import Superseded
from outbox.queries import ClaimTerms

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from psycopg_pool import AsyncConnectionPool

    from outbox.clock import Clock
    from outbox.handler import Handler
    from outbox.queries import Claimed, Conn
    from outbox.settlement import Settlement

LOOK_SECONDS = 2.0
"""How often a claim starts at the first id."""

LOOK_SHARE = 20
"""A full look that took long is not repeated before this many times its duration."""

WINDOW_MIN, WINDOW_MAX = 200, 20_000
"""The least number of rows in which an ordered handler looks for keys; else one per delivery.

A look that found nothing but blocked keys goes on with four times as many, up to the most.
"""

WIDEN_MAX = 8
"""How many rows per delivery it looks at when little of what it looks at may be leased."""


PROBES_MAX = 20
"""How many deliveries are looked at to find one that may be the probe of a destination.

Where none of them may go, an ordered handler looks through the widest window for another key.
"""


BY_AGE_EVERY = 8
"""Each so many-th claim goes by age and asks for no priority, so that nothing waits for ever."""

AGAIN_MAX = 1_000
"""How many keys a claim asks for again because a batch before left them unfinished."""


@dataclass(slots=True)
class Claims:
    """Claims for one handler under the name of one relay.

    `reads` are the topics and versions to be claimed, None for all: looking at each message costs
    something, so a process begins to when it has met one that its code cannot read.
    """

    handler: Handler
    pool: AsyncConnectionPool[Any]
    relay: str
    clock: Clock
    settlement: Settlement
    reads: list[str] | None = None
    mark: LowWater = field(default_factory=LowWater)
    _keyless_mark: LowWater = field(default_factory=LowWater)
    _keyless: bool = True
    _again: list[str] = field(default_factory=list)
    _widened: int = 1
    _blocked: bool = False
    _ranked: bool = False
    _no_probe: bool = False
    _turn: int = 0
    _looks_at: float = float("-inf")

    def look_everywhere(self) -> None:
        """Let the next claim start at the first id: rows that committed late lie below the mark."""
        self.mark.look_everywhere()
        self._keyless_mark.look_everywhere()
        self._keyless, self._blocked = True, False

    def look_if_time(self) -> None:
        """The same, if the last full look is long enough ago."""
        if asyncio.get_running_loop().time() >= self._looks_at:
            self.look_everywhere()

    @property
    def run_max(self) -> int:
        """How many deliveries of one key one worker may take at once.

        A call that must be prepared, or noted as begun, is taken when it is its turn.
        """
        handler = self.handler
        if handler.effect is Effect.DATABASE:
            return handler.batch_max
        ready = handler.effect is Effect.IDEMPOTENT and handler.prepare is None
        return handler.concurrency if ready else 1

    def terms(self, limit: int) -> ClaimTerms:
        """A claim of up to `limit` now, under a token of its own."""
        return ClaimTerms(
            handler=self.handler.name, relay=self.relay, token=uuid4(), limit=limit,
            lease=self.handler.lease, now=self.clock.sql_now(), reads=self.reads,
        )  # fmt: skip

    async def claim(self, limit: int, *, run_max: int | None = None) -> list[Claimed]:
        """Lease up to `limit` due deliveries under one token, by the order the handler asks for."""
        async with self.pool.connection() as conn:
            rows = await self.claim_on(conn, limit, run_max=run_max)
        if rows:
            reach(CrashPoint.AFTER_CLAIM, self.handler.name)
        return rows

    async def claim_on(
        self, conn: Conn, limit: int, *, run_max: int | None = None
    ) -> list[Claimed]:
        """The same on a connection that has no transaction open: each window has its own."""
        look = self.look(run_max)
        rows: list[Claimed] = []
        if self.handler.order is Order.NONE:
            return await look.take(conn, limit)  # one statement, committed
        while look.more:
            async with conn.transaction():
                rows += await look.take(conn, limit - len(rows))
        return rows

    def look(self, run_max: int | None = None) -> Look:
        """Begin a claim that is taken window by window."""
        return Look(self, uuid4(), run_max or self.run_max)

    @property
    def in_backlog(self) -> bool:
        """Whether the last claim was full, so that the next one is likely to be.

        What has priorities waiting is leased: a held batch asks for none.
        """
        return self.mark.full and not self._ranked

    async def claim_held(self, conn: Conn, limit: int) -> tuple[ClaimTerms, list[Claimed]]:
        """Lock up to `limit` due deliveries of an unordered handler in the open transaction."""
        terms = self.terms(limit)
        rows = await queries.claim_held(conn, terms, after=self.mark.start())
        self._note(self.mark, rows, limit)
        reach(CrashPoint.BEFORE_CLAIM_COMMIT, self.handler.name)
        return terms, rows

    async def claim_alone(self, conn: Conn) -> list[Claimed]:
        """Lease at most one delivery that was taken and not settled.

        Where a probe was looked for and nothing else may go, it is the probe of an open breaker.
        """
        headed, blocks = self.handler.order is Order.KEYED, self.handler.blocks
        terms = self.terms(1)
        async with conn.transaction() as transaction:
            probes = self._no_probe and await queries_cluster.take_breaker_probe(conn, terms)
            rows = await queries.claim_lone(conn, terms, headed=headed, blocks=blocks)
            if not rows:
                raise Rollback(transaction)
        if rows and probes:
            self.settlement.destination.probing = terms.token
        if rows:
            reach(CrashPoint.AFTER_CLAIM, self.handler.name)
        return rows

    async def claim_probe(self, conn: Conn) -> tuple[UUID, list[Claimed]] | None:
        """Lease one delivery that may go to a destination whose breaker is open, and its token.

        None: it is not open, somebody else's probe is under way, or there is nothing to try but
        what was taken and not settled, which `claim_alone` may try next.
        """
        terms = self.terms(1)
        self._no_probe = False
        for window in (0, WINDOW_MAX) if self.handler.ordered else (0,):
            rows: list[Claimed] = []
            async with conn.transaction() as transaction:
                if not await queries_cluster.take_breaker_probe(conn, terms):
                    return None
                rows, touched = await self._lease_probe(conn, terms, window)
                if not rows and not touched:
                    raise Rollback(transaction)
                if not rows:  # what was found overtaken stays settled
                    await queries_cluster.leave_breaker_probe(conn, terms)
            if rows:
                return terms.token, rows
        self._no_probe = True
        return None

    async def _lease_probe(
        self, conn: Conn, terms: ClaimTerms, window: int
    ) -> tuple[list[Claimed], bool]:
        """What may be the probe, and whether any key was looked into, which may settle something.

        Keys are locked by one statement, in one order, and then tried in the order of preference.
        """
        found = await queries_cluster.find_probe(conn, terms, limit=PROBES_MAX)
        for id_ in [id_ for id_, key in found if key is None]:
            if rows := await queries.lease_ids(conn, terms, [id_]):
                return rows, True
        ranks = {
            key: rank for rank, (_, key) in reversed(list(enumerate(found))) if key is not None
        }
        if not ranks:
            return [], False
        keyed = self.handler.order is Order.KEYED
        looked = {
            "after": 0,
            "window": window,
            "headed": keyed,
            "unhandled": not keyed,
            "blocks": self.handler.blocks,
        }
        many = replace(terms, limit=PROBES_MAX)
        locked = await queries.lock_keys(conn, many, again_keys=list(ranks), **looked)
        keys = sorted(locked.keys, key=lambda key: ranks.get(key, PROBES_MAX * 2))
        for place, key in enumerate(keys):
            if rows := await self.lease(conn, terms, [key], 1):
                name, rest = self.handler.name, keys[place + 1 :]
                await queries.release_keys(conn, handler=name, token=terms.token, keys=rest)
                return rows, True
        return [], bool(keys)

    async def has_suspect(self, conn: Conn) -> bool:
        """Whether there is one."""
        headed, blocks = self.handler.order is Order.KEYED, self.handler.blocks
        return await queries.has_suspect(
            conn, self.terms(1), headed=headed, blocks=blocks, probes=self._no_probe
        )

    def window(self, limit: int) -> int:
        """How many rows the first window of a claim of `limit` has."""
        return min(max(self._widened * limit, WINDOW_MIN), WINDOW_MAX)

    def looked_everywhere(self, *, since: float) -> None:
        """Note that a look from the first id ends now that began at `since`."""
        now = asyncio.get_running_loop().time()
        self._looks_at = now + max(LOOK_SECONDS, LOOK_SHARE * (now - since))

    async def claim_unordered(self, conn: Conn, terms: ClaimTerms) -> list[Claimed]:
        """Lease what is due of a handler without order, in one statement where nobody ranks."""
        return await self._claim_unordered(conn, terms, self.mark, keyless=False)

    async def claim_keyless(self, conn: Conn, terms: ClaimTerms) -> list[Claimed]:
        """Lease what has no key of an ordered handler, up to half of the limit.

        Without any, nothing is looked for between two full looks.
        """
        if not self._keyless:
            return []
        some = replace(terms, limit=(terms.limit + 1) // 2)
        rows = await self._claim_unordered(conn, some, self._keyless_mark, keyless=True)
        self._keyless = bool(rows)
        return rows

    async def _claim_unordered(
        self, conn: Conn, terms: ClaimTerms, mark: LowWater, *, keyless: bool
    ) -> list[Claimed]:
        if mark.everywhere:
            self._ranked = await queries.has_ranked(conn, handler=self.handler.name)
        if self._ranked:
            return await self._claim_ranked(conn, terms, mark, keyless=keyless)
        rows = await queries.claim(conn, terms, after=mark.start(), keyless=keyless)
        self._note(mark, rows, terms.limit)
        return rows

    async def _claim_ranked(
        self, conn: Conn, terms: ClaimTerms, mark: LowWater, *, keyless: bool
    ) -> list[Claimed]:
        """By rank, and now and then by age."""
        self._turn = (self._turn + 1) % BY_AGE_EVERY
        rows = await queries.claim_ranked(
            conn, terms, after=mark.start(), by_age=self._turn == 0, keyless=keyless
        )
        seen_to: int | None = None
        if any(row.fresh is None for row in rows):  # a low one: nothing else is left
            seen_to = await queries.newest_ready(conn, handler=self.handler.name)
        self._note(mark, rows, terms.limit, seen_to)
        return rows

    @staticmethod
    def _note(
        mark: LowWater, rows: Sequence[Claimed], limit: int, seen_to: int | None = None
    ) -> None:
        last = seen_to or max((row.id for row in rows if row.fresh), default=None)
        if last is None and len(rows) == limit:
            mark.stayed()
        else:
            mark.reached(last, full=len(rows) == limit, at=asyncio.get_running_loop().time())

    async def claim_keys(
        self, conn: Conn, terms: ClaimTerms, run_max: int, window: int
    ) -> tuple[list[Claimed], bool]:
        """Take keys, then what of them may be leased now; whether more may follow the window.

        Whether a key may go (its head, or that nothing of it is taken) is asked for only since one
        was found that may not, until the next full look; the window grows only while little of it
        can be leased.
        """
        if not terms.limit:
            return [], False
        keyed = self.handler.order is Order.KEYED
        looked = {
            "after": self.mark.start(),
            "window": window,
            "headed": keyed and self._blocked,
            "unhandled": not keyed and self._blocked,
            "blocks": self.handler.blocks,
        }
        locked = await queries.lock_keys(conn, terms, again_keys=self._again, **looked)
        rows = await self.lease(conn, terms, locked.keys, run_max) if locked.keys else []
        full = locked.more
        if not self._blocked:
            self._blocked = len({row.key for row in rows}) < len(locked.keys)
        if 2 * len(rows) < terms.limit and full:
            self._widened = min(2 * self._widened, WIDEN_MAX)
        else:
            self._widened = max(self._widened // 2, 1)
        self.mark.reached(locked.seen_to, full=full, at=asyncio.get_running_loop().time())
        mine = set(locked.keys)
        waiting = [key for key in (*self._again, *locked.busy) if key not in mine]
        again = dict.fromkeys([*_unfinished(rows), *waiting])
        self._again = list(again)[:AGAIN_MAX]
        return rows, full

    async def lease(
        self, conn: Conn, terms: ClaimTerms, keys: Sequence[str], run_max: int
    ) -> list[Claimed]:
        """Lease deliveries of keys that `terms.token` holds, in the open transaction."""
        if self.handler.order is Order.KEYED:
            blocks = self.handler.blocks
            return await queries.lease_runs(conn, terms, keys, run_max=run_max, blocks=blocks)
        newest = await queries.find_newest(conn, terms, keys)
        overtaken = await queries.supersede_overtaken(conn, terms, newest) if newest else []
        if overtaken:
            await self.settlement.settle_untried(conn, overtaken, Superseded())
        due = [one.id for one in newest if one.due]
        return await queries.lease_newest(conn, terms, due, keys=keys)


def _unfinished(rows: Sequence[Claimed]) -> list[str]:
    """Keys of which more was looked at than leased: their runs go on."""
    leased = Counter(row.key for row in rows)
    return [row.key for row in rows if row.key is not None and row.run > leased[row.key]]


@dataclass(slots=True)
class Look:
    """One claim, window by window, each in a transaction that locks no keys but those of it.

    A window of blocked keys hides what may lie behind it. Keys are locked in one order, which a
    second window would begin again: two such claims in one transaction each wait in a ring.
    """

    claims: Claims
    token: UUID
    run_max: int
    more: bool = True
    _window: int = 0

    async def take(self, conn: Conn, limit: int) -> list[Claimed]:
        """Lease up to `limit` of what may go in the next window; `more` tells if one follows."""
        began, claims = asyncio.get_running_loop().time(), self.claims
        full_look = claims.mark.everywhere
        terms = replace(claims.terms(limit), token=self.token)
        if claims.handler.order is Order.NONE:
            self.more = False
            reach(CrashPoint.BEFORE_CLAIM_COMMIT, claims.handler.name)
            rows = await claims.claim_unordered(conn, terms)
        else:
            rows = await self._take_ordered(conn, terms)
        if full_look:
            claims.looked_everywhere(since=began)
        return rows

    async def _take_ordered(self, conn: Conn, terms: ClaimTerms) -> list[Claimed]:
        """What has no key, up to half of it and in the first window, and then what has."""
        claims, first = self.claims, not self._window
        began_at = claims.mark.start()
        self._window = min(4 * self._window, WINDOW_MAX) or claims.window(terms.limit)
        rows = await claims.claim_keyless(conn, terms) if first else []
        rest = replace(terms, limit=terms.limit - len(rows))
        found, more = await claims.claim_keys(conn, rest, self.run_max, self._window)
        self.more = more and not found and claims.mark.start() != began_at
        reach(CrashPoint.BEFORE_CLAIM_COMMIT, claims.handler.name)
        return rows + found
