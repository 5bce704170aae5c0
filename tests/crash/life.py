"""One life in a process of its own: a relay that drains, or a relay or worker of a transport.

It works until nothing is due, or until SIGTERM; or meets its end.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from multiprocessing import get_context
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Final

from outbox import App, Attempt, Done, Effect, Handler, Message, Order, Outcome, Relay, apublish
from outbox.testing import CrashPoint, ShiftedClock, at_point, kill
from outbox.transport.brokers import BrokerAddress
from outbox.transport.sending import DramatiqSender
from outbox.transport.tickets import Tickets
from outbox.transport.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from psycopg import AsyncConnection

EFFECT_TABLE = """
create table effect (
    id bigint generated always as identity, handler text not null, delivery_id bigint not null,
    key text, position bigint not null
)
"""
ANSWER_SECONDS_MAX = 60
READY = "ready"
IMPORTED_LATE = ["outbox.held", "outbox.calling", "outbox.migrations", "alembic.command"]
"""What a relay imports when it needs it: half a second of each life, were it not forked along."""

os.environ.setdefault("dramatiq_restart_delay", "300")  # ms; read when dramatiq is imported


class Role(StrEnum):
    """What a process does."""

    INLINE = "inline"
    """A relay that runs its handlers itself, until nothing is due."""
    RELAY = "relay"
    """A relay that sends tickets, until SIGTERM."""
    WORKER = "worker"
    """A worker that exchanges tickets, until SIGTERM."""


class Parcel(Message, topic="parcel.ready"):
    """One handler of the kind under test takes it."""

    number: int


class Written(Message, topic="parcel.written"):
    """Published with a database effect, in its commit."""

    number: int


# kind -> the terms that make it; of a keyed one, what is unknown keeps all behind it waiting
KINDS: Final[dict[str, dict[str, Any]]] = {
    "leased": {"effect": Effect.DATABASE, "batch_max": 20},
    "held": {"effect": Effect.DATABASE, "batch_max": 2},  # a backlog: the second batch is held
    "keyed": {"effect": Effect.DATABASE, "order": Order.KEYED},
    "idempotent": {"effect": Effect.IDEMPOTENT, "concurrency": 3},
    "keyed_out": {"effect": Effect.IDEMPOTENT, "order": Order.KEYED, "concurrency": 3},
    "newest_out": {"effect": Effect.IDEMPOTENT, "order": Order.NEWEST, "concurrency": 3},
    "ambiguous": {"effect": Effect.AMBIGUOUS, "concurrency": 3},
    "keyed_ambiguous": {"effect": Effect.AMBIGUOUS, "order": Order.KEYED, "concurrency": 3},
}


async def write(parcel: Parcel, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
    """A row, and a message, in the settling transaction."""
    await conn.execute(
        "insert into effect (handler, delivery_id, key, position) values (%s, %s, %s, %s)",
        (attempt.handler, attempt.delivery_id, attempt.key, attempt.message_id),
    )
    await apublish(conn, Written(number=parcel.number))
    return Done()


def application(kind: str, port: int, ahead: timedelta) -> App:
    """An application with the one handler, in a time that is `ahead`."""

    async def call(parcel: Parcel, attempt: Attempt) -> Outcome:
        del parcel
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{attempt.handler} {attempt.delivery_id}\n".encode())
        await reader.readline()
        writer.close()
        return Done()

    terms = KINDS[kind]
    app = App("sweep", clock=ShiftedClock(ahead))
    app.add(
        Handler(
            name=kind,
            messages=(Parcel,),
            call=write if terms["effect"] is Effect.DATABASE else call,
            timeout=timedelta(seconds=5),
            **terms,
        )
    )
    return app


@dataclass(frozen=True)
class Plan:
    """What befalls a life: at `point`, for the `nth` time, it dies or stops for a word."""

    point: CrashPoint
    nth: int
    dies: bool


@dataclass(frozen=True)
class Seat:
    """Where a life works: its database, the port it calls, its time, its role and broker."""

    dsn: str
    kind: str
    port: int
    ahead: timedelta
    role: Role = Role.INLINE
    broker_url: str = ""


class Life:
    """A process at work in `seat`. The parent waits for its words and answers them."""

    def __init__(self, seat: Seat, plan: Plan | None = None) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload([__name__, *IMPORTED_LATE])
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=live, args=(seat, plan, theirs))
        self.process.start()
        theirs.close()

    async def word(self) -> str | None:
        """What it says next; None when it has ended."""
        said = await asyncio.to_thread(self._hears)
        try:
            return str(self._pipe.recv()) if said else None
        except EOFError:
            return None

    def _hears(self) -> bool:
        ready = wait([self._pipe, self.process.sentinel], ANSWER_SECONDS_MAX)
        if not ready:
            raise TimeoutError
        return self._pipe in ready

    def go_on(self) -> None:
        """Let it go on from where it stopped."""
        self._pipe.send("go")

    def stop(self) -> None:
        """Ask it to finish what runs and end."""
        self.process.terminate()

    async def end(self) -> int | None:
        """Wait for its end; its exit code."""
        await asyncio.to_thread(self.process.join, ANSWER_SECONDS_MAX)
        code = self.process.exitcode
        self.process.kill()
        self.process.join()
        self._pipe.close()
        return code


def live(seat: Seat, plan: Plan | None, pipe: Connection) -> None:
    """The process itself."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)

    def ask(word: str) -> None:
        pipe.send(word)
        pipe.recv()

    with ExitStack() as points:
        if plan is not None:
            if plan.point is CrashPoint.LEASE_LOST:  # somebody overtakes it after the call
                stalls = at_point(CrashPoint.AFTER_CALL, lambda: ask("stalled"), nth=plan.nth)
                points.enter_context(stalls)
            nth = 1 if plan.point is CrashPoint.LEASE_LOST else plan.nth
            points.enter_context(
                at_point(plan.point, kill if plan.dies else lambda: ask("reached"), nth=nth)
            )
        asyncio.run(_work(seat, lambda: pipe.send(READY)))


async def _work(seat: Seat, ready: Callable[[], None]) -> None:
    app, stop = application(seat.kind, seat.port, seat.ahead), asyncio.Event()
    if seat.role is Role.INLINE:
        relay = Relay(app, seat.dsn)
        async with relay.opened():
            await relay.drain()
        return
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    address = BrokerAddress.of(seat.broker_url)
    working = (
        Worker(app, seat.dsn, address)
        if seat.role is Role.WORKER
        else Relay(app, seat.dsn, transport=Tickets(DramatiqSender(address)))
    )
    async with working.opened():
        ready()
        await working.run(stop)
