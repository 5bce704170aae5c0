"""The shop's promises to its customers, kept step by step and in any order of failure."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from examples.shop import orders, tables
from examples.shop.messages import OrderConfirmed, OrderPlaced, OrderRefused
from outbox.dsn import sqlalchemy_url
from outbox.testing import assert_published, refute_published

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.shop.tests.conftest import Mailer
    from outbox.testing import OutboxHarness

SECOND = timedelta(seconds=1)


@contextmanager
def shop(dsn: str) -> Iterator[Session]:
    """A session of the web shop: one transaction."""
    engine = sa.create_engine(sqlalchemy_url(dsn))
    try:
        with Session(engine) as session, session.begin():
            yield session
    finally:
        engine.dispose()


def place(dsn: str, *counts: int, available: int = 5) -> None:
    """Put teapots on the shelf and order some, one order per count."""
    with shop(dsn) as session:
        session.execute(sa.insert(tables.stock).values(item="teapot", available=available))
        for count in counts:
            orders.place(session, item="teapot", count=count, email="customer@example.org")


def seen(dsn: str) -> list[tuple[Any, ...]]:
    """Status and mail of each order, then what is left on the shelf."""
    with shop(dsn) as session:
        rows = session.execute(
            sa.select(tables.order.c.status, tables.order.c.mail).order_by(tables.order.c.id)
        )
        left = session.execute(sa.select(tables.stock.c.available))
        return [tuple(row) for row in (*rows, *left)]


async def test_an_order_is_confirmed_and_mailed_once(
    outbox: OutboxHarness, outbox_database: str, mailer: Mailer
) -> None:
    place(outbox_database, 2)

    await outbox.drain()

    assert seen(outbox_database) == [("confirmed", "done"), (3,)]
    (mail,) = mailer.sent.values()
    assert b'"template":"confirmed"' in mail


async def test_what_is_not_there_is_refused_and_the_shelf_stays_as_it_is(
    outbox: OutboxHarness, outbox_database: str, mailer: Mailer
) -> None:
    place(outbox_database, 3, 4)

    await outbox.drain()

    assert seen(outbox_database) == [("confirmed", "done"), ("refused", "done"), (2,)]
    assert_published(outbox_database, OrderConfirmed, {"order_id": 1}, key="order:1", count=1)
    assert_published(outbox_database, OrderRefused, {"order_id": 2}, count=1)
    assert len(mailer.sent) == 2


def test_an_order_that_fails_says_nothing(outbox_database: str) -> None:
    """The change and the message about it are one transaction."""
    with pytest.raises(IntegrityError), shop(outbox_database) as session:
        _order_teapot_and_unicorn(session)

    refute_published(outbox_database, OrderPlaced)


def _order_teapot_and_unicorn(session: Session) -> None:
    session.execute(sa.insert(tables.stock).values(item="teapot", available=1))
    orders.place(session, item="teapot", count=1, email="customer@example.org")
    orders.place(session, item="unicorn", count=1, email="customer@example.org")


async def test_an_order_told_twice_is_answered_once(
    outbox: OutboxHarness, outbox_database: str, mailer: Mailer
) -> None:
    place(outbox_database, 2)

    told_again = await outbox.publish(OrderPlaced(order_id=1), dedup_key="placed:1")
    await outbox.publish(OrderPlaced(order_id=1))  # by somebody who gave no key
    await outbox.drain()

    assert told_again.duplicate
    assert seen(outbox_database) == [("confirmed", "done"), (3,)]
    assert len(mailer.sent) == 1


async def test_a_worker_that_dies_after_the_call_sends_no_second_mail(
    outbox: OutboxHarness, outbox_database: str, mailer: Mailer
) -> None:
    """The lease runs out and the call is made again, with the same key."""
    place(outbox_database, 1)
    await outbox.run_once("stock")
    taken = await outbox.claim_one("mail")
    mailer.sent[str(taken.claimed.message_id)] = b"sent just before the end"

    outbox.advance(outbox.app.handlers["mail"].lease + SECOND)
    await outbox.drain()

    assert seen(outbox_database) == [("confirmed", "done"), (4,)]
    assert list(mailer.sent.values()) == [b"sent just before the end"]


@pytest.mark.parametrize(
    ("answer", "mail", "waits"),
    [
        (httpx.Response(503), "retry", 5),
        (httpx.Response(429, headers={"Retry-After": "7"}), "retry", 7),
        (
            httpx.Response(429, headers={"Retry-After": "Sun, 01 Mar 2026 09:01:00 GMT"}),
            "retry",
            60,
        ),
        (httpx.Response(422), "dead", None),
    ],
    ids=["busy", "throttled", "throttled until a date", "refused"],
)
async def test_each_answer_of_the_receiver_has_its_end(  # noqa: PLR0917 - fixtures and the table
    outbox: OutboxHarness,
    outbox_database: str,
    mailer: Mailer,
    answer: httpx.Response,
    mail: str,
    waits: int | None,
) -> None:
    place(outbox_database, 1)
    mailer.answers = [answer]

    await outbox.drain()
    assert (seen(outbox_database)[0][1], mailer.sent) == (mail, {})

    if waits is not None:
        outbox.advance(waits * SECOND - SECOND)
        await outbox.drain()
        assert not mailer.sent
        outbox.advance(SECOND)
        await outbox.drain()
        assert len(mailer.sent) == 1


async def test_a_rejected_token_stops_the_calls_and_loses_none(
    outbox: OutboxHarness, outbox_database: str, mailer: Mailer
) -> None:
    place(outbox_database, 1)
    mailer.answers = [httpx.Response(401)]

    await outbox.drain()

    census = await outbox.census("mail")
    assert (census.pending, census.dead, mailer.sent) == (1, 0, {})
