"""How many transitions a relay commits per second: of one hot instance, and of many."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg

from bench.figures import Gathered
from outbox import (
    App,
    Decision,
    Message,
    Publication,
    Relay,
    Saga,
    SagaState,
    publish_many,
)

if TYPE_CHECKING:
    from datetime import datetime

    from bench.figures import Figure, Scale
    from bench.ground import Ground

PER_SECOND = "transitions/s"
MESSAGES, QUICK_MESSAGES = 20_000, 1_000


class Counted(Message, topic="bench.counted"):
    """One more for a subject."""

    subject: int


class Told(Message, topic="bench.told"):
    """What a saga that speaks says of each."""

    subject: int
    count: int


class Count(SagaState):
    """How many there were."""

    count: int = 0


def _application(*, speaks: bool) -> App:
    def react(state: Count, message: Counted, *, now: datetime) -> Decision[Count]:
        del now
        told = Told(subject=message.subject, count=state.count + 1)
        said = (Publication(message=told),) if speaks else ()
        return Decision(Count(count=state.count + 1), publish=said)

    app = App("bench")
    app.add_saga(
        Saga(
            name="counter", state=Count, react=react, correlate="subject",
            starts={Counted: lambda _: Count()},
        )
    )  # fmt: skip
    return app


async def sagas(ground: Ground, scale: Scale) -> list[Figure]:
    """Transitions committed by one relay in this process: state, timeline and receipt each.

    *one instance, one key* is a hot instance whose messages keep one ordering key; *many keys*
    reaches it under a hundred of them, so that batches meet at its lock; *many instances* has a
    message in ten for each. *speaking* publishes one message per transition.
    """
    count = QUICK_MESSAGES if scale.quick else MESSAGES
    got = Gathered("sagas", messages=count)
    for _ in range(1 if scale.quick else 2):
        for name, subjects, keys, speaks in (
            ("one instance, one key", 1, 1, False),
            ("one instance, many keys", 1, 100, False),
            ("many instances", max(count // 10, 1), max(count // 10, 1), False),
            ("many instances, speaking", max(count // 10, 1), max(count // 10, 1), True),
        ):
            rate = await _rate(ground, count, subjects, keys, speaks=speaks)
            got.add(name, rate, PER_SECOND)
    return got.figures(*got.ratio("hot / many", "one instance, one key", "many instances"))


async def _rate(ground: Ground, count: int, subjects: int, keys: int, *, speaks: bool) -> float:
    with ground.fresh() as dsn:
        relay = Relay(_application(speaks=speaks), dsn)
        async with relay.opened():  # its routes are there before the first message
            with psycopg.connect(dsn) as conn:
                publish_many(
                    conn,
                    [
                        Publication(
                            message=Counted(subject=number % subjects), key=f"key:{number % keys}"
                        )
                        for number in range(count)
                    ],
                )
            began = time.perf_counter()
            await relay.drain()
            took = time.perf_counter() - began
        with psycopg.connect(dsn) as conn:
            moved = conn.execute("select count(*) from outbox.saga_transition").fetchone()
        assert moved == (count,), "every message is one transition"
    return count / took
