"""`./run soak --seconds N [--seed S]`: faults without end, and then every promise is asked for.

`--calm`: eight relays without a fault; then no lease may be lost and no deadlock have happened.
Prints what was injected and what was checked. Exit code 0 only if every promise held; else each
that was broken is named with its deliveries.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from random import Random

import psycopg

import outbox.migrations
from outbox import Effect, Order, Relay
from outbox.embedded import EmbeddedServer
from outbox.testing import DatabaseServer
from tests.crash.promises import broken_promises
from tests.crash.proxy import FaultProxy
from tests.crash.receiver import Receiver
from tests.soak.application import HANDLERS, TABLES, application
from tests.soak.faults import World, moment
from tests.soak.promises import counts_of, of_the_publishers

RELAYS, CALM_RELAYS, PUBLISHERS = 2, 8, 2
FAULT_EVERY_SECONDS = 0.35
DRAINED_WITHIN_SECONDS = 240
SETTINGS = {"fsync": "off", "max_connections": "300", "shared_buffers": "64MB"}
LOST = (
    "delivery.lease_lost", "delivery.outcome_unknown", "delivery.claimed_alone",
    "suspects.process_died",
)  # fmt: skip


def say(text: str) -> None:
    """A line of the report."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def soak(world: World, seconds: float, relays: int) -> bool:
    """Publish, relay and hurt for so long, then let all be drained; whether it was."""
    async with Relay(application(world.receiver.port, world.timeout), world.dsn).opened():
        pass  # every route is there before the first message
    for _ in range(relays):
        world.start_relay()
    for index in range(PUBLISHERS):
        world.start_publisher(index)
    ends, told = time.monotonic() + seconds, time.monotonic()
    while time.monotonic() < ends:
        if world.faulty:
            await world.inject()
        await moment(FAULT_EVERY_SECONDS)
        world.replace_the_dead()
        if time.monotonic() - told > 30:
            told = time.monotonic()
            say(f"  {world.injected.total()} faults, {world.left()} deliveries wait")
    await world.calm_down()
    for publisher in world.publishers.values():
        publisher.terminate()
        await asyncio.to_thread(publisher.join)
    world.publishers.clear()
    ends = time.monotonic() + DRAINED_WITHIN_SECONDS
    while world.left() and time.monotonic() < ends:
        await moment(0.5)
        world.replace_the_dead()
    return world.left() == 0


async def stop(world: World) -> None:
    """End the relays, as an operator does."""
    for relay in world.relays:
        relay.terminate()
        await asyncio.to_thread(relay.join, 30)
        relay.kill()


def judge(world: World, *, drained: bool) -> list[str]:
    """What was checked, and a line for each promise that does not hold."""
    log = world.log.read_text(encoding="utf-8", errors="replace")
    lost = {event: log.count(f'"{event}"') for event in LOST}
    with psycopg.connect(world.dsn) as conn:
        broken = broken_promises(
            conn,
            database=[
                n for n, (_, terms) in HANDLERS.items() if terms["effect"] is Effect.DATABASE
            ],
            ambiguous=["pushed"],
            keyed=[n for n, (_, terms) in HANDLERS.items() if terms.get("order") is Order.KEYED],
            arrived={name: world.receiver.arrived[name] for name in ("called", "pushed", "shown")},
        )
        broken += of_the_publishers(conn)
        counts = counts_of(conn)
    if not drained:
        broken.append(f"P2 a crash costs a lease: not drained {DRAINED_WITHIN_SECONDS} s later")
    if counts["dead"] and not lost["suspects.process_died"]:
        broken.append("P8 isolation: what kills was given up, and no process of its own died of it")
    if not world.faulty:
        broken += [
            f"without a fault: {count} times {event}" for event, count in lost.items() if count
        ]
        broken += ["without a fault: a deadlock"] if counts["deadlocks"] else []
    say(f"faults injected: {world.injected.total()} {dict(sorted(world.injected.items()))}")
    say(f"deliveries checked: {counts.pop('deliveries')} {counts}")
    say(f"told by relays: {lost}")
    return broken


async def main(options: argparse.Namespace) -> int:
    """Run the soak; the exit code."""
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    calm = options.calm
    relays = CALM_RELAYS if calm else RELAYS
    faults = "no" if calm else "with"
    say(f"soak: {options.seconds:.0f} s, seed {seed}, {relays} relays, {faults} faults")
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedServer.start(settings=SETTINGS) as embedded,
        DatabaseServer(embedded.dsn()).database(outbox.migrations) as dsn,
    ):
        with psycopg.connect(dsn) as conn:
            conn.execute(TABLES)
        proxy, receiver = FaultProxy(dsn), Receiver(answer_seconds=0)
        async with proxy.listening(), receiver.listening():
            world = World(
                embedded, dsn, proxy, receiver, Random(seed),  # noqa: S311 - a seed, not a secret
                timeout=timedelta(seconds=20 if calm else 0.5),
                log=Path(folder, "relays.log"), seed=seed, faulty=not calm,
            )  # fmt: skip
            try:
                drained = await soak(world, options.seconds, relays)
                await stop(world)
                broken = judge(world, drained=drained)
            finally:
                for process in (*world.relays, *world.publishers.values()):
                    process.kill()
                    process.join()
            if broken and options.keep_log:
                world.log.replace(options.keep_log)
    for line in broken:
        say(f"BROKEN: {line}")
    say("every promise held" if not broken else f"seed {seed} breaks {len(broken)}")
    return 1 if broken else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="./run soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long faults are injected")
    parser.add_argument("--seed", type=int, help="of the faults; drawn and printed if not given")
    parser.add_argument("--calm", action="store_true", help="eight relays and no faults")
    parser.add_argument("--keep-log", help="where to keep the relays' log if a promise is broken")
    sys.exit(asyncio.run(main(parser.parse_args())))
