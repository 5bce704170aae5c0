"""What was published can be asserted and refuted, and a failure tells what there was instead."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from outbox import App, Effect, Handler, Message, Outcome, VirtualClock, publish
from outbox.dsn import sqlalchemy_url
from outbox.errors import UsageError
from outbox.testing import OutboxHarness, assert_published, refute_published

if TYPE_CHECKING:
    from outbox import Attempt


class Sold(Message, topic="kit.sold"):
    """Something left the shop."""

    thing: str
    pieces: int = 1


class Closed(Message, topic="kit.closed"):
    """The shop is closed."""


async def never(message: Any, attempt: Attempt) -> Outcome:
    raise AssertionError(message, attempt)


@pytest.fixture
def outbox_app() -> App:
    app = App("kit", clock=VirtualClock(datetime(2026, 3, 1, tzinfo=UTC)))
    app.add(Handler(name="seller", messages=(Sold,), effect=Effect.IDEMPOTENT, call=never))
    return app


async def test_what_matches_is_returned_oldest_first(outbox: OutboxHarness) -> None:
    for thing, key in (("hat", "shop:1"), ("coat", "shop:2"), ("hat", None)):
        await outbox.publish(Sold(thing=thing), key=key)

    hats = await outbox.assert_published(Sold, {"thing": "hat"}, count=2)
    (first,) = await outbox.assert_published(Sold, {"thing": "hat"}, key="shop:1")
    (last,) = await outbox.assert_published(Sold, key=None, count=1)

    assert hats == [first, last]
    assert first.message == Sold(thing="hat")
    assert first.created_at == outbox.clock.now()
    await outbox.refute_published(Sold, {"thing": "hat"}, key="shop:2")
    await outbox.refute_published(Closed)


async def test_a_failure_tells_what_there_was(outbox: OutboxHarness) -> None:
    sold = await outbox.publish(Sold(thing="coat", pieces=2), key="shop:2")
    await outbox.publish(Closed())

    with pytest.raises(AssertionError) as raised:
        await outbox.assert_published(Sold, {"thing": "hat"}, key="shop:1")

    assert str(raised.value).splitlines() == [
        "expected at least one Sold ('kit.sold' version 1) with thing='hat', key 'shop:1', found 0",
        "published to 'kit.sold' (what is not as wanted stands behind it):",
        f"  {sold.message_id}: thing='coat', pieces=2  <- thing='coat', key 'shop:2'",
        "other topics: 'kit.closed' version 1 (1)",
    ]
    with pytest.raises(AssertionError, match=r"expected no Sold .*, found 1"):
        await outbox.refute_published(Sold)
    with pytest.raises(AssertionError, match=r"expected 2 Sold .*, found 1"):
        await outbox.assert_published(Sold, count=2)


def test_a_misspelt_field_is_refused_and_not_refuted(outbox_database: str) -> None:
    with pytest.raises(UsageError, match="Sold has no field think; it has thing, pieces"):
        refute_published(outbox_database, Sold, {"think": "hat"})


def test_an_open_transaction_sees_its_own(outbox_database: str) -> None:
    """A test may look before it commits, and roll back; the rest of the world sees nothing."""
    engine = create_engine(sqlalchemy_url(outbox_database))
    with psycopg.connect(outbox_database) as conn, Session(engine) as session:
        publish(conn, Sold(thing="hat"))
        publish(session, Sold(thing="coat"))

        assert_published(conn, Sold, {"thing": "hat"}, count=1)
        assert_published(session, Sold, {"thing": "coat"}, count=1)
        assert_published(session.connection(), Sold, count=1)
        refute_published(outbox_database, Sold)
        conn.rollback()
    engine.dispose()
