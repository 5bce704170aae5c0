"""An application with every effect and order, and what somebody outside saw of it."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from outbox import App, Attempt, Clock, Done, Effect, Handler, Message, Order, Outcome

if TYPE_CHECKING:
    from psycopg import AsyncConnection


class Parcel(Message, topic="parcel.ready"):
    """Every handler takes it; `contact` must not leave the database."""

    number: int
    key: str
    contact: str = "somebody@example.org"


class Seen:
    """Calls as they were made, per handler; a call waits while `gate` is shut."""

    def __init__(self) -> None:
        self.calls: dict[str, Counter[int]] = defaultdict(Counter)
        self.order: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.under_way: Counter[tuple[str, str]] = Counter()
        self.together = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def call(self, parcel: Parcel, attempt: Attempt) -> Outcome:
        place = attempt.handler, parcel.key
        self.under_way[place] += 1
        self.together = max(self.together, self.under_way[place])
        self.calls[attempt.handler][parcel.number] += 1
        self.order[place].append(parcel.number)
        await self.gate.wait()
        await asyncio.sleep(0)
        self.under_way[place] -= 1
        return Done()

    @property
    def total(self) -> int:
        return sum(calls.total() for calls in self.calls.values())


async def write(parcel: Parcel, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
    """One row per delivery, in the settling transaction."""
    del parcel
    await conn.execute("insert into effect (delivery_id) values (%s)", (attempt.delivery_id,))
    return Done()


def crowd(seen: Seen, clock: Clock | None = None) -> App:
    """Three effects, ordered keys and newest only."""
    app = App("crowd", clock=clock)
    for name, effect, order in (
        ("write", Effect.DATABASE, Order.NONE),
        ("call", Effect.IDEMPOTENT, Order.NONE),
        ("push", Effect.AMBIGUOUS, Order.NONE),
        ("keyed", Effect.IDEMPOTENT, Order.KEYED),
        ("newest", Effect.IDEMPOTENT, Order.NEWEST),
    ):
        app.add(
            Handler(
                name=name, messages=(Parcel,), effect=effect, order=order, batch_max=20,
                call=write if effect is Effect.DATABASE else seen.call, concurrency=4,
            )
        )  # fmt: skip
    return app
