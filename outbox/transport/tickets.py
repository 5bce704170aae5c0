"""The relay's side of a transport: what it claims becomes tickets that workers exchange.

A ticket is a lease that nobody works under yet. It costs nothing: no attempt, no lone claim. One
that waited for a whole lease is sent again under the same token, so that a copy which is only slow
stays good; where no live worker reads its queue, it is taken back.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from outbox import queries_tickets
from outbox.claiming import Claims
from outbox.crash_points import CrashPoint, reach
from outbox.errors import BrokerUnreachable
from outbox.lane import Lane, LeasedBatch, token_of
from outbox.queries_tickets import Ticket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from outbox.app import App
    from outbox.held import HeldBatch
    from outbox.queries_tickets import TicketRoom

log = structlog.get_logger("outbox")

SENDS_MAX = 2
"""Tickets of one handler that one relay sends at once: the claim of one overlaps the other."""

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

    async def send(self, ticket: Ticket) -> None:
        """Send, and wait until the broker has it. Raises `BrokerUnreachable`."""
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
    _told_at: float = float("-inf")

    def room(self, running: Collection[LeasedBatch | HeldBatch]) -> int:
        """How many deliveries to ask for; `take` knows how many the workers have room for."""
        if len(running) >= SENDS_MAX or not self.sender.may_send:
            return 0
        return self.handler.batch_max

    async def take(self, limit: int) -> TicketBatch | None:
        """Claim one ticket for the emptiest queue that has room and can read something due."""
        batch = None
        async with self.pool.connection() as conn, conn.transaction():
            rooms = await queries_tickets.ticket_rooms(conn, handler=self.handler.name)
            for room in rooms:
                most = min(limit, room.ticket_max, room.room)
                if most <= 0:
                    break
                rows = await self._claims_for(room).claim_on(conn, most)
                if rows:
                    token = token_of(rows[0])
                    await queries_tickets.mark_ticket(conn, token=token, queue=room.queue)
                    batch = TicketBatch(self, rows, queue=room.queue)
                    break
        if batch is None:
            self._tell_if_alone(rooms)
        else:
            reach(CrashPoint.AFTER_CLAIM, self.handler.name)
        return batch

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
        for place, ticket in enumerate(waiting):
            try:
                await self.sender.send(ticket)
            except BrokerUnreachable:  # it says so itself; due at once and not a lease later
                for unsent in waiting[place:]:
                    await self.free(unsent)
                return 0
        if waiting:
            log.warning("ticket.sent_again", handler=self.handler.name, count=len(waiting))
        return 0

    async def free(self, ticket: Ticket) -> None:
        """Take back a ticket that may not have been sent."""
        async with self.pool.connection() as conn:
            await queries_tickets.free_ticket(conn, ticket=ticket.token, ids=ticket.ids)

    def _claims_for(self, room: TicketRoom) -> Claims:
        """Where to look for what one queue's workers can read: each has marks of its own."""
        claims = self._by_queue.get(room.queue)
        if claims is None:
            claims = self._by_queue[room.queue] = Claims(
                self.handler, self.pool, self.relay, self.app.clock, self.settlement,
                room.reads,
            )  # fmt: skip
        claims.look_if_time()
        return claims

    def _tell_if_alone(self, rooms: Collection[TicketRoom]) -> None:
        now = asyncio.get_running_loop().time()
        if not rooms and now - self._told_at >= TOLD_SECONDS:
            self._told_at = now
            log.warning("relay.no_worker", handler=self.handler.name, cure="start `outbox worker`")


@dataclass(slots=True)
class TicketBatch(LeasedBatch):
    """A ticket that is claimed and not yet sent."""

    starts_by: float = 0.0
    queue: str = field(kw_only=True)

    async def run(self) -> None:
        """Send it; what the broker does not confirm is taken back."""
        lane, token = self.lane, token_of(self.rows[0])
        assert isinstance(lane, TicketLane), "only its take makes one"
        ticket = Ticket(token, self.queue, [row.id for row in self.rows])
        try:
            await lane.sender.send(ticket)
        except BrokerUnreachable:
            reach(CrashPoint.BROKER_LOST, lane.handler.name)
            await lane.free(ticket)
