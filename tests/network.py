"""The suite stays on this machine: a connection to any other is refused before it begins.

Python tells its audit hooks of every `connect` of its own sockets; libpq, which opens its
connections itself, goes to the server of `DATABASE_URL` alone. Brokers named for the tests may
stand elsewhere.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final
from urllib.parse import urlsplit

_HERE: Final = ("127.", "::1", "localhost", "::ffff:127.")
_BROKERS: Final = ("OUTBOX_TEST_RABBITMQ_URL", "OUTBOX_TEST_REDIS_URL")


class LeftTheMachine(AssertionError):
    """A test tried to reach another machine, where a real service may answer."""

    def __init__(self, host: str) -> None:
        super().__init__(f"a test tried to reach {host}; emulators stand on loopback")
        self.host = host


def keep_on_this_machine() -> None:
    """Refuse, from now on and for good, every connection that leaves the machine."""
    named = {urlsplit(os.environ.get(name, "")).hostname for name in _BROKERS}

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event != "socket.connect" or not isinstance(args[1], tuple):
            return  # a unix socket's address is text
        host = str(args[1][0])
        if not host.startswith(_HERE) and host not in named:
            raise LeftTheMachine(host)

    sys.addaudithook(hook)
