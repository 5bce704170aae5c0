"""What the process to be killed runs: each effect and order, and a receiver on the loopback."""

from __future__ import annotations

import asyncio
import os
import resource
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outbox import (
    AfterDead,
    App,
    Attempt,
    Done,
    Effect,
    Handler,
    Message,
    Order,
    Outcome,
    Suppressed,
)
from outbox.testing import ShiftedClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

EFFECT_TABLE = """
create table effect (delivery_id bigint not null, constraint effect_once unique (delivery_id))
"""


HANDLERS: dict[str, dict[str, Any]] = {
    "write": {"effect": Effect.DATABASE},
    "call": {"effect": Effect.IDEMPOTENT},
    "push": {"effect": Effect.AMBIGUOUS},
    "keyed": {"effect": Effect.DATABASE, "order": Order.KEYED},
    "blocked": {
        "effect": Effect.DATABASE, "order": Order.KEYED, "after_dead": AfterDead.BLOCK
    },
    "newest": {"effect": Effect.IDEMPOTENT, "order": Order.NEWEST},
}  # fmt: skip

BATCH_MAX = 20

ROOM_BYTES = 64 << 20
"""What a process that is to run out of memory may take beyond what it has by then."""

LEAK: list[bytes] = []


class Parcel(Message, topic="parcel.ready"):
    """All handlers take it. One that is `deadly`, by "exit" or "memory", ends the process."""

    number: int
    deadly: str = ""


def touch(parcel: Parcel) -> None:
    """Die if the parcel is deadly: at once, as by a fault in native code, or of too little memory.

    The memory is never let go, as by a cache that grows: nothing else in the process has any.
    """
    if parcel.deadly == "exit":
        os._exit(9)
    if parcel.deadly == "memory":
        limit_memory()
    size = 16 << 20
    while parcel.deadly == "memory":
        try:
            LEAK.append(bytes(size))
        except MemoryError:
            if size < 1 << 12:
                raise
            size //= 2


def limit_memory() -> None:
    """Let this process take no more than `ROOM_BYTES` from now on; for Linux."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


async def write(parcel: Parcel, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
    """One row per delivery, in the settling transaction."""
    touch(parcel)
    await conn.execute("insert into effect values (%s)", (attempt.delivery_id,))
    return Done()


async def prepare(
    conn: AsyncConnection[Any], items: Sequence[tuple[Parcel, Attempt]]
) -> dict[int, Any]:
    """Look at every parcel before any call."""
    del conn
    for parcel, _ in items:
        touch(parcel)
    return {}


def application(
    port: int, ahead: timedelta, handlers: Sequence[str], *, lone_claims_max: int = 1
) -> App:
    """The application, in a time that is `ahead`, with some of its handlers."""

    async def call(parcel: Parcel, attempt: Attempt) -> Outcome:
        if attempt.handler != "push":
            touch(parcel)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{attempt.handler} {attempt.delivery_id}\n".encode())
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return Done() if answer == b"taken\n" else Suppressed("hung_up")

    app = App("crash", clock=ShiftedClock(ahead))
    for name in handlers:
        effect = HANDLERS[name]["effect"]
        app.add(
            Handler(
                name=name,
                messages=(Parcel,),
                call=write if effect is Effect.DATABASE else call,
                timeout=timedelta(seconds=5),
                batch_max=BATCH_MAX,
                lone_claims_max=lone_claims_max,
                prepare=prepare if effect is Effect.AMBIGUOUS else None,
                **HANDLERS[name],
            )
        )
    return app
