"""A relay of the application that drains and ends, in a process of its own and ahead in time.

Its clock is moved, so that what a relay killed before it had leased is due at once: no test waits
for leases to run out.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handlers.settings import ApplicationSettings
from outbox import Relay
from outbox.testing import ShiftedClock
from sagas.app import build_app

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta


def drain(dsn: str, settings: Mapping[str, Any], ahead: timedelta, log: str) -> None:
    """Work until nothing is due; whatever is said goes to the file `log`."""
    with Path(log).open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
        asyncio.run(_drain(dsn, settings, ahead))


async def _drain(dsn: str, settings: Mapping[str, Any], ahead: timedelta) -> None:
    app = build_app(ApplicationSettings(**settings), clock=ShiftedClock(ahead))
    async with Relay(app, dsn).opened() as relay:
        await relay.drain()
