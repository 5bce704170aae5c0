"""The shop on a database of each test's own, in a time that the test moves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from examples.shop.app import build
from outbox import App, VirtualClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outbox.testing.databases import DatabaseServer


class Mailer:
    """Stands for the receiver of mails: answers as told, else 202, and remembers what it sent."""

    def __init__(self) -> None:
        self.answers: list[httpx.Response] = []
        self.sent: dict[str, bytes] = {}  # by idempotency key: a repeat sends no second mail

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        if self.answers:
            return self.answers.pop(0)
        self.sent.setdefault(request.headers["Idempotency-Key"], request.content)
        return httpx.Response(202)


@pytest.fixture
def mailer() -> Mailer:
    """The receiver of this test's mails."""
    return Mailer()


@pytest.fixture
def outbox_app(mailer: Mailer) -> App:
    """The shop, its mails answered by `mailer`; the kit's other fixtures follow from it."""
    clock = VirtualClock(datetime(2026, 3, 1, 9, 0, tzinfo=UTC))
    return build(clock=clock, transport=httpx.MockTransport(mailer))


@pytest.fixture
def empty_database(outbox_server: DatabaseServer) -> Iterator[str]:
    """A database with nothing in it."""
    with outbox_server.database() as dsn:
        yield dsn
