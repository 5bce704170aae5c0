"""A worker to be killed: `python -m tests.transport.worker_process DSN PORT AHEAD HANDLERS`.

The broker is named by BROKER_URL; AHEAD is in seconds, HANDLERS are joined by commas.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import timedelta

from outbox.transport.brokers import BrokerAddress
from outbox.transport.worker import Worker
from tests.crash.application import application


async def main(dsn: str, port: str, ahead: str, handlers: str) -> None:
    app = application(int(port), timedelta(seconds=int(ahead)), handlers.split(","))
    address = BrokerAddress.of(os.environ["BROKER_URL"])
    worker, stop = Worker(app, dsn, address), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with worker.opened():
        print("ready", flush=True)  # noqa: T201 - the parent waits for it
        await worker.run(stop)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
