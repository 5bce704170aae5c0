"""The processes of the soak: relays and publishers, to be killed, stopped and started again.

A relay has suspects tried by processes of their own, as `outbox relay` does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from multiprocessing import get_context
from random import Random
from threading import Event
from typing import TYPE_CHECKING

from outbox import Relay
from outbox.logs import configure_logs
from outbox.suspects import Suspects
from outbox.testing import CrashPoint, at_point, kill
from tests.soak.application import PORT, TIMEOUT_SECONDS, Publisher, application

if TYPE_CHECKING:
    from datetime import timedelta
    from multiprocessing.process import BaseProcess

context = get_context("forkserver")
context.set_forkserver_preload([__name__, "outbox.held", "outbox.calling", "outbox.database"])

SUSPECTS = [sys.executable, "-m", "outbox", "--app", "tests.soak.alone:app", "suspects"]
POINTS = [
    point for point in CrashPoint if point not in {CrashPoint.BROKER_LOST, CrashPoint.LEASE_LOST}
]
REACHED_MAX = 400


@dataclass(frozen=True)
class RelayLife:
    """What a relay is told. `dies`: it ends itself at some crash point, sooner or later."""

    dsn: str
    port: int
    timeout: timedelta
    log: str
    seed: str
    dies: bool


def start_relay(life: RelayLife) -> BaseProcess:
    """A relay in a process of its own."""
    process = context.Process(target=_relay, args=(life,))
    process.start()
    return process


def start_publisher(
    dsn: str,
    index: int,
    life: int,
    seed: int,
    log: str,
    fatal: bool,  # noqa: FBT001 - as above
) -> BaseProcess:
    """A publisher in a process of its own."""
    process = context.Process(target=_publish, args=(dsn, index, life, seed, log, fatal))
    process.start()
    return process


def _relay(life: RelayLife) -> None:
    _speak_into(life.log)
    random = Random(life.seed)  # noqa: S311 - a seed, not a secret
    if not life.dies:
        asyncio.run(_run(life, random))
        return
    point, nth = random.choice(POINTS), random.randint(1, REACHED_MAX)
    with at_point(point, kill, nth=nth):
        asyncio.run(_run(life, random))


def _speak_into(path: str) -> None:
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    configure_logs()


async def _run(life: RelayLife, random: Random) -> None:
    relay, stop = (
        Relay(application(life.port, life.timeout), life.dsn, random=random),
        asyncio.Event(),
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    os.environ |= {
        "DATABASE_URL": life.dsn, PORT: str(life.port),
        TIMEOUT_SECONDS: str(life.timeout.total_seconds()),
    }  # fmt: skip
    async with Suspects(SUSPECTS) as suspects, relay.opened():
        for lane in relay.lanes.values():
            lane.suspects = suspects
        await relay.run(stop)


def _publish(
    dsn: str,
    index: int,
    life: int,
    seed: int,
    log: str,
    fatal: bool,  # noqa: FBT001 - as above
) -> None:
    _speak_into(log)
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    Publisher(dsn, index, life, seed, fatal=fatal).run(stop)
