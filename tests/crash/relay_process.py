"""A relay to be killed: `python -m tests.crash.relay_process DSN PORT AHEAD_SECONDS HANDLERS MODE`.

Mode `run` works until SIGTERM; `drain` until nothing is due. HANDLERS are joined by commas.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import timedelta

from outbox import Relay
from tests.crash.application import application


async def main(dsn: str, port: str, ahead: str, handlers: str, mode: str) -> None:
    app = application(int(port), timedelta(seconds=int(ahead)), handlers.split(","))
    relay, stop = Relay(app, dsn), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with relay.opened():
        print("ready", flush=True)  # noqa: T201 - the parent waits for it
        await (relay.run(stop) if mode == "run" else relay.drain())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
