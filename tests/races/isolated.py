"""A relay of four destinations: `python -m tests.races.isolated DSN PORT`, until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

from outbox import (
    App,
    Attempt,
    DestinationHeld,
    Done,
    Effect,
    Handler,
    Message,
    Outcome,
    Relay,
    parse_retry_after,
)

NAMES = ("healthy", "throttled", "hanging", "paused")
CONCURRENCY = 4


class Ordered(Message, topic="isolated.ordered"):
    """All four take it."""

    number: int


def application(port: int) -> App:
    """Each calls the receiver and obeys its answer: a status, and perhaps a `Retry-After`."""

    async def call(message: Any, attempt: Attempt) -> Outcome:
        del message
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(f"{attempt.handler}\n".encode())
            status, _, header = (await reader.readline()).decode().strip().partition(" ")
        finally:
            writer.close()
        wait = parse_retry_after(header, now=attempt.now)
        if status == "429" and wait is not None:
            raise DestinationHeld("throttled", wait)
        return Done()

    app = App("isolated")
    for name in NAMES:
        app.add(
            Handler(
                name=name, messages=(Ordered,), effect=Effect.IDEMPOTENT, call=call,
                concurrency=CONCURRENCY,
            )
        )  # fmt: skip
    return app


async def main(dsn: str, port: str) -> None:
    relay, stop = Relay(application(int(port)), dsn), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with relay.opened():
        print("ready", flush=True)  # noqa: T201 - the parent waits for it
        await relay.run(stop)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
