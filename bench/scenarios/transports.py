"""Handlers in the relay beside handlers in workers that are told by tickets through a broker."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bench import trial
from bench.contenders import ours
from bench.figures import Figure, Gathered

if TYPE_CHECKING:
    from bench.figures import Scale
    from bench.ground import Ground

BROKERS = {"RabbitMQ": "OUTBOX_TEST_RABBITMQ_URL", "Redis": "OUTBOX_TEST_REDIS_URL"}
EFFECTS = ("database", "idempotent")
PER_SECOND = "deliveries/s"
SHARE = 10
"""A tenth of a drain's deliveries, for time only."""


async def transports(ground: Ground, scale: Scale) -> list[Figure]:
    """A drain of no-op deliveries inline, and by tickets over RabbitMQ and over Redis.

    With tickets, relay and worker share one process, as inline does; handlers on default terms. The
    brokers are those of OUTBOX_TEST_RABBITMQ_URL and OUTBOX_TEST_REDIS_URL.
    """
    count = max(scale.deliveries // SHARE, 1_000)
    got = Gathered("transports", deliveries=count, payload_bytes=200)
    for _ in range(scale.runs):
        for effect in EFFECTS:
            inline = trial.drain(ground, ours("inline", effect=effect), count)
            got.add(f"{effect}, inline", inline.rate, PER_SECOND, settings=inline.settings)
            for broker, variable in BROKERS.items():
                name, url = f"{effect}, {broker}", os.environ.get(variable)
                if not url:
                    got.lacks(name, PER_SECOND, f"{variable} is not set")
                    continue
                carried = trial.drain(ground, ours(name, effect=effect, broker=url), count)
                got.add(name, carried.rate, PER_SECOND, settings=carried.settings)
    shares = [
        figure
        for effect in EFFECTS
        for broker in BROKERS
        for figure in got.ratio(
            f"{effect}, {broker} / inline", f"{effect}, {broker}", f"{effect}, inline"
        )
    ]
    return got.figures(*shares)
