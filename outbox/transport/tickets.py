"""The relay's side of a transport: what it claims becomes tickets that workers exchange.

A ticket is a lease that nobody works under yet. It costs nothing: no attempt, no lone claim. One
that waited for a whole lease is sent again under the same token, so that a copy which is only slow
stays good; where no live worker reads its queue, it is taken back.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import structlog

from outbox import queries_tickets
from outbox.claiming import Claims
from outbox.crash_points import CrashPoint, reach
from outbox.lane import Lane, token_of
from outbox.leased import LeasedBatch
from outbox.queries_tickets import Ticket
from outbox.slots import CLAIM_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence

    from outbox.app import App
    from outbox.claiming import Look
    from outbox.held import HeldBatch
    from outbox.queries import Claimed, Conn
    from outbox.queries_tickets import TicketRoom

log = structlog.get_logger("outbox")

SENDS_MAX = 2
"""Claims of one handler that one relay sends at once: the claim of one overlaps the other."""

FULL_SECONDS_MIN, FULL_SECONDS_MAX = 0.002, 0.05
"""How soon a relay looks again for room in queues that are full: soon, and then less often."""

TOLD_SECONDS = 60.0
"""How often a relay says that nobody takes a handler's tickets."""


class Sender(Protocol):
    """Puts tickets into queues of a broker."""

    @property
    def may_send(self) -> bool:
        """Whether it is worth trying now: False for a moment after the broker failed."""
        ...

    @property
    def trouble(self) -> str | None:
        """What keeps it from sending; None when all is well."""
        ...

    async def open(self) -> None:
        """Connect. Raises `BrokerUnreachable`."""
        ...

    async def send(self, tickets: Sequence[Ticket]) -> list[Ticket]:
        """Send all, wait until the broker has them; those of which it did not say so."""
        ...

    async def try_again(self) -> None:
        """After a failure, see whether the broker is back, though nothing is to be sent."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


class Tickets:
    """The transport that sends tickets by `sender`."""

    hands_over = True

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    @property
    def trouble(self) -> str | None:
        """What keeps the sender from sending."""
        return self._sender.trouble

    def lane(self, *parts: Any) -> Lane:
        """A lane that hands over what it claims. `parts` are those of a `Lane`."""
        return TicketLane(*parts, sender=self._sender)

    @asynccontextmanager
    async def opened(self, app: App) -> AsyncIterator[None]:
        """A connection with the broker; handlers do not run here, so what they need stays shut."""
        del app
        await self._sender.open()
        try:
            yield
        finally:
            await self._sender.close()


@dataclass(slots=True)
class TicketLane(Lane):
    """Claims for one handler and hands over; runs nothing."""

    sender: Sender = field(kw_only=True)
    _by_queue: dict[str, Claims] = field(default_factory=dict)
    _full_for: float = 0.0
    _told_at: float = float("-inf")

    def room(self, running: Collection[LeasedBatch | HeldBatch]) -> int:
        """How many deliveries to ask for; `take` knows how many the workers have room for."""
        if len(running) >= SENDS_MAX or not self.sender.may_send:
            return 0
        return min(self.handler.batch_max, CLAIM_MAX)

    @property
    def looks_again_in(self) -> float | None:
        """How soon to look for room, since workers ring no bell; None while there was some."""
        return self._full_for or None

    async def take(self, limit: int) -> TicketBatch | None:
        """Claim for the emptiest queue that has room and can read something due.

        Each window of each queue is looked into in a transaction of its own, that counts anew.
        """
        looks: dict[str, Look] = {}
        async with self.pool.connection() as conn:
            while True:
                async with conn.transaction():
                    rooms = await queries_tickets.ticket_rooms(conn, handler=self.handler.name)
                    free = [one for one in rooms if one.room > 0]
                    room = next((one for one in free if _is_left(looks, one.queue)), None)
                    if room is None:
                        break
                    look = looks.setdefault(room.queue, self._look_for(room))
                    rows = await look.take(conn, min(limit, room.room, self._most(room)))
                    tickets = await self._cut(conn, rows, room)
                if tickets:
                    self._full_for = 0.0
                    reach(CrashPoint.AFTER_CLAIM, self.handler.name)
                    return TicketBatch(self, rows, tickets=tickets)
        self._note_full(full=bool(rooms) and not free)
        self._tell_if_alone(rooms)
        return None

    def _note_full(self, *, full: bool) -> None:
        longer = max(2 * self._full_for, FULL_SECONDS_MIN)
        self._full_for = min(longer, FULL_SECONDS_MAX) if full else 0.0

    def _most(self, room: TicketRoom) -> int:
        """How much one claim takes: a transaction of a DATABASE handler is one ticket."""
        return self.handler.batch_max if self.calls_out else room.ticket_max

    async def _cut(self, conn: Conn, rows: Sequence[Claimed], room: TicketRoom) -> list[Ticket]:
        """Make tickets of what was claimed, in the claim's transaction."""
        if not rows:
            return []
        token, parts = token_of(rows[0]), _parts(rows, room.ticket_max)
        if len(parts) == 1:
            await queries_tickets.mark_ticket(conn, token=token, queue=room.queue)
            return [Ticket(token, room.queue, parts[0])]
        tickets = [Ticket(uuid4(), room.queue, ids) for ids in parts]
        terms = replace(self.claims.terms(len(rows)), token=token)
        await queries_tickets.split_tickets(conn, terms, tickets)
        return tickets

    async def clean_up(self) -> int:
        """Decide about what ran out, and send again what waited for a whole lease."""
        await self.tidy()
        if not self.sender.may_send:
            return 0
        await self.sender.try_again()
        async with self.pool.connection() as conn:
            waiting = await queries_tickets.resend_tickets(
                conn, handler=self.handler.name, lease=self.handler.lease,
                now=self.app.clock.sql_now(),
            )  # fmt: skip
        if unsent := await self.sender.send(waiting) if waiting else []:
            await self.take_back(unsent)  # due at once and not a lease later
        if again := len(waiting) - len(unsent):
            log.warning("ticket.sent_again", handler=self.handler.name, count=again)
        return 0

    async def take_back(self, tickets: Sequence[Ticket]) -> None:
        """Take back tickets that may not have been sent."""
        async with self.pool.connection() as conn:
            await queries_tickets.take_back_tickets(
                conn, tickets=[one.token for one in tickets],
                ids=[id_ for one in tickets for id_ in one.ids],
            )  # fmt: skip

    def _look_for(self, room: TicketRoom) -> Look:
        """A look for what one queue's workers can read: each has marks of its own."""
        claims = self._by_queue.get(room.queue)
        if claims is None:
            claims = self._by_queue[room.queue] = Claims(
                self.handler, self.pool, self.relay, self.app.clock, self.settlement,
                room.reads,
            )  # fmt: skip
        claims.look_if_time()
        return claims.look(min(claims.run_max, room.ticket_max))

    def _tell_if_alone(self, rooms: Collection[TicketRoom]) -> None:
        now = asyncio.get_running_loop().time()
        if not rooms and now - self._told_at >= TOLD_SECONDS:
            self._told_at = now
            log.warning("relay.no_worker", handler=self.handler.name, cure="start `outbox worker`")


@dataclass(slots=True)
class TicketBatch(LeasedBatch):
    """What was claimed at once, as tickets that are not yet sent."""

    starts_by: float = 0.0
    tickets: list[Ticket] = field(kw_only=True)

    async def run(self) -> None:
        """Send them; what the broker does not confirm is taken back."""
        lane = self.lane
        assert isinstance(lane, TicketLane), "only its take makes one"
        if unsent := await lane.sender.send(self.tickets):
            reach(CrashPoint.BROKER_LOST, lane.handler.name)
            await lane.take_back(unsent)


def _is_left(looks: Mapping[str, Look], queue: str) -> bool:
    return queue not in looks or looks[queue].more


def _parts(rows: Sequence[Claimed], most: int) -> list[list[int]]:
    """The ids in parts of at most `most`; those of one key are neighbours and stay together."""
    parts: list[list[int]] = []
    for key, group in groupby(rows, key=lambda row: row.key):
        ids = [row.id for row in group]
        if key is None:
            parts += [ids[at : at + most] for at in range(0, len(ids), most)]
        elif parts and len(parts[-1]) + len(ids) <= most:
            parts[-1] += ids
        else:
            parts.append(ids)
    return parts
