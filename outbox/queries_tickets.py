"""Statements about tickets and the workers that take them; the transaction is the caller's.

`now` None means the database's clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from psycopg.rows import tuple_row

from outbox import queries
from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta
    from uuid import UUID

    from outbox.queries import Claimed, ClaimTerms, Conn, Now

LOCK_TICKETS = load("outbox", "lock_tickets")
TICKET_ROOMS = load("outbox", "ticket_rooms")
MARK_TICKET = load("outbox", "mark_ticket")
SPLIT_TICKETS = load("outbox", "split_tickets")
EXCHANGE_TICKETS = load("outbox", "exchange_tickets")
EXCHANGE_KEYS = load("outbox", "exchange_keys")
TAKE_BACK_TICKETS = load("outbox", "take_back_tickets")
FREE_TICKETS = load("outbox", "free_tickets")
RESEND_TICKETS = load("outbox", "resend_tickets")
BEAT_WORKER = load("outbox", "beat_worker")
LEAVE_WORKER = load("outbox", "leave_worker")
IDENTIFY_DATABASE = load("outbox", "identify_database")


class Ticket(NamedTuple):
    """The right to take over what is under `token`. It names deliveries and holds nothing else."""

    token: UUID
    queue: str
    ids: list[int]


class TicketRoom(NamedTuple):
    """A queue that live workers read: what they can read, and for how many deliveries is room."""

    queue: str
    reads: list[str]
    ticket_max: int
    room: int


class Taken(NamedTuple):
    """What one worker takes of one handler.

    `reads` are its topics and versions, `ticket_max` the deliveries of one ticket, `slots` those
    it has room for at once.
    """

    handler: str
    queue: str
    reads: list[str]
    ticket_max: int
    slots: int


async def ticket_rooms(conn: Conn, *, handler: str) -> list[TicketRoom]:
    """The queues to hand over to, the emptiest first; no other relay counts before the commit."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(LOCK_TICKETS, {"handler": handler})
        await cursor.execute(TICKET_ROOMS, {"handler": handler})
        return [
            TicketRoom(queue, reads, ticket_max, int(room))
            for queue, reads, ticket_max, room in await cursor.fetchall()
        ]


async def mark_ticket(conn: Conn, *, token: UUID, queue: str) -> None:
    """Make a lease just claimed a ticket."""
    await conn.execute(MARK_TICKET, {"token": token, "queue": queue})


async def split_tickets(conn: Conn, terms: ClaimTerms, tickets: Sequence[Ticket]) -> None:
    """Make tickets, all of one queue, of the lease `terms.token` just claimed."""
    params = terms.params(
        ids=[one for ticket in tickets for one in ticket.ids],
        tickets=[ticket.token for ticket in tickets for _ in ticket.ids], queue=tickets[0].queue,
    )  # fmt: skip
    await conn.execute(SPLIT_TICKETS, params)


async def exchange_tickets(
    conn: Conn, terms: ClaimTerms, *, tickets: Sequence[UUID], ids: Sequence[int]
) -> list[Claimed]:
    """Take over what is still under tickets and may be tried now; nothing of those gone."""
    params = terms.params(tickets=list(tickets), ids=list(ids))
    return await queries.claimed(conn, EXCHANGE_TICKETS, params, terms.token)


async def exchange_keys(
    conn: Conn, terms: ClaimTerms, *, tickets: Sequence[UUID], ids: Sequence[int]
) -> list[str]:
    """Take over the keys under tickets, in the transaction that leases their newest."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(EXCHANGE_KEYS, terms.params(tickets=list(tickets), ids=list(ids)))
        return [row[0] for row in await cursor.fetchall()]


async def take_back_tickets(conn: Conn, *, tickets: Sequence[UUID], ids: Sequence[int]) -> int:
    """Take tickets back; how many deliveries are due again."""
    params = {"tickets": list(tickets), "ids": list(ids)}
    cursor = await conn.execute(TAKE_BACK_TICKETS, params)
    return cursor.rowcount


async def free_tickets(conn: Conn, *, handler: str, now: Now) -> int:
    """Take back expired tickets that no live worker would find; how many deliveries are due."""
    cursor = await conn.execute(FREE_TICKETS, {"handler": handler, "now": now})
    return cursor.rowcount


async def resend_tickets(conn: Conn, *, handler: str, lease: timedelta, now: Now) -> list[Ticket]:
    """Tickets that waited for a whole lease, good for another one."""
    params = {"handler": handler, "lease": lease, "now": now}
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(RESEND_TICKETS, params)
        return [Ticket._make(row) for row in await cursor.fetchall()]


async def beat_worker(conn: Conn, *, worker: str, taken: Sequence[Taken]) -> None:
    """Say that a worker lives and what it takes now."""
    params = {
        "worker": worker, "handlers": [one.handler for one in taken],
        "queues": [one.queue for one in taken], "reads": ["\n".join(one.reads) for one in taken],
        "ticket_maxs": [one.ticket_max for one in taken], "slots": [one.slots for one in taken],
    }  # fmt: skip
    await conn.execute(BEAT_WORKER, params)


async def leave_worker(conn: Conn, *, worker: str) -> None:
    """Say that a worker is gone."""
    await conn.execute(LEAVE_WORKER, {"worker": worker})


async def identify_database(conn: Conn) -> str:
    """What no other database has."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(IDENTIFY_DATABASE)
        row = await cursor.fetchone()
    assert row is not None, "a connection has a database"
    return str(row[0])
