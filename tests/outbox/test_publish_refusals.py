"""What can be refused is refused clearly, before any SQL; the caller's transaction survives."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from pydantic import BaseModel
from sqlalchemy import create_engine, pool, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from outbox import Message, Publication, PublishError, apublish, publish, publish_many
from outbox.dsn import sqlalchemy_url
from outbox.errors import (
    AutocommitHandle,
    HandleUnusable,
    KeyInvalid,
    NaiveDatetime,
    PayloadInvalid,
    PayloadTooLarge,
    TermInvalid,
    TransactionFailed,
    TransactionReadOnly,
)
from outbox.payload import PAYLOAD_BYTES_MAX, encode
from tests.outbox.doors import ASYNC, KINDS, SYNC, opened, publish_of
from tests.outbox.shop import OrderPlaced

if TYPE_CHECKING:
    from tests.outbox.conftest import Rows

NAIVE = datetime(2026, 3, 1)  # noqa: DTZ001 - the very thing that is refused
MESSAGE = OrderPlaced(order_id=1)


class Reading(BaseModel):
    """A nested model, whose own configuration would write NaN as null."""

    value: float = 0.0
    at: datetime | None = None


@dataclass
class Mark:
    """A nested dataclass."""

    at: datetime


class Measured(Message, topic="thing.measured"):
    """A payload of anything."""

    reading: Reading | None = None
    anything: Any = None


class Marked(Message, topic="thing.marked"):
    """A payload with a dataclass inside."""

    mark: Mark


BAD_TERMS: list[tuple[dict[str, Any], type[PublishError], str]] = [
    ({"due_at": NAIVE}, NaiveDatetime, "due_at"),
    ({"due_at": date(2026, 3, 1)}, TermInvalid, "due_at is a date"),
    ({"key": ""}, KeyInvalid, "key is empty"),
    ({"key": "a\0b"}, KeyInvalid, "key holds a NUL"),
    ({"key": "a\ud800"}, KeyInvalid, "key holds a lone surrogate"),
    ({"key": 7}, KeyInvalid, "key is a int"),
    ({"key": "x" * 401}, KeyInvalid, "401 characters, the most is 400"),
    ({"dedup_key": ""}, KeyInvalid, "dedup_key is empty"),
    ({"correlation_id": ""}, KeyInvalid, "correlation_id is empty"),
    ({"sequence": "1"}, TermInvalid, "sequence is a str"),
    ({"sequence": 2**63}, TermInvalid, "sequence is"),
    ({"priority": 101}, TermInvalid, "between -100 and 100"),
    ({"priority": None}, TermInvalid, "priority is a NoneType"),
]

BAD_PAYLOADS: list[tuple[Any, type[PublishError], str]] = [
    (Measured(anything="a\0b"), PayloadInvalid, "NUL"),
    (Measured(anything={"a\0b": 1}), PayloadInvalid, "NUL"),
    (Measured(anything=float("nan")), PayloadInvalid, "is nan"),
    (Measured(anything=[{"x": float("inf")}]), PayloadInvalid, r"anything\[0\]\['x'\] is inf"),
    (Measured(reading=Reading(value=float("nan"))), PayloadInvalid, "reading.value is nan"),
    (Measured(anything="a\ud800"), PayloadInvalid, "not valid UTF-8"),
    (Measured(anything={"at": NAIVE}), NaiveDatetime, "'at'"),
    (Measured(anything=deque([NAIVE])), NaiveDatetime, "anything"),
    (Measured(reading=Reading(at=NAIVE)), NaiveDatetime, "reading.at"),
    (Marked(mark=Mark(at=NAIVE)), NaiveDatetime, "mark.at"),
    (OrderPlaced(order_id=1, note="x" * PAYLOAD_BYTES_MAX), PayloadTooLarge, "publish its key"),
    ({"order_id": 1}, PublishError, "this is a dict"),
    (OrderPlaced, PublishError, "instance of a Message class"),
    (Reading(), PublishError, "this is a Reading"),
]


@pytest.mark.parametrize(("terms", "error", "says"), BAD_TERMS, ids=lambda value: repr(value)[:40])
async def test_a_bad_term_is_refused_before_any_sql(
    terms: dict[str, Any], error: type[PublishError], says: str, database: str
) -> None:
    async with opened("psycopg Connection", database) as door:
        with pytest.raises(error, match=says):
            await door.publish(MESSAGE, **terms)

        assert door.handle.info.transaction_status.name == "IDLE"  # nothing was sent


@pytest.mark.parametrize(("payload", "error", "says"), BAD_PAYLOADS, ids=lambda v: repr(v)[:40])
def test_a_payload_that_jsonb_could_not_hold_is_refused(
    payload: Any, error: type[PublishError], says: str
) -> None:
    with pytest.raises(error, match=says):
        encode(payload)


def test_the_largest_payload_fits() -> None:
    frame = len(encode(OrderPlaced(order_id=1)))

    text_of = encode(OrderPlaced(order_id=1, note="x" * (PAYLOAD_BYTES_MAX - frame)))

    assert len(text_of.encode()) == PAYLOAD_BYTES_MAX


@pytest.mark.parametrize("kind", KINDS)
async def test_the_callers_transaction_survives_every_refusal(
    kind: str, database: str, rows: Rows
) -> None:
    async with opened(kind, database) as door:
        await door.change()
        for terms, error, _ in BAD_TERMS:
            with pytest.raises(error):
                await door.publish(MESSAGE, **terms)
        for payload, error, _ in BAD_PAYLOADS:
            with pytest.raises(error):
                await door.publish(payload)
        await door.commit()

    assert rows("select note from effect") == [("mine",)]
    assert rows("select * from outbox.message") == []


async def test_one_bad_publication_of_many_publishes_none(database: str, rows: Rows) -> None:
    good, bad = Publication(message=MESSAGE), Publication(message=MESSAGE, key="")
    with psycopg.connect(database) as conn, pytest.raises(KeyInvalid):
        publish_many(conn, [good, bad])

    assert rows("select * from outbox.message") == []


def test_what_is_no_publication_is_refused(database: str) -> None:
    bare: Any = [Publication(message=MESSAGE), MESSAGE]
    with psycopg.connect(database) as conn:
        with pytest.raises(PublishError, match=r"takes Publication\(message=.*is a OrderPlaced"):
            publish_many(conn, bare)

        assert conn.info.transaction_status.name == "IDLE"


@pytest.mark.parametrize("kind", KINDS)
async def test_autocommit_is_refused(kind: str, database: str) -> None:
    """There is no transaction the message could share with the change."""
    async with opened(kind, database) as door:
        handle = door.handle
        if kind == "psycopg Connection":
            handle.autocommit = True
        elif kind == "psycopg AsyncConnection":
            await handle.set_autocommit(True)
        elif "Session" in kind:
            found = handle.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
            _ = await found if "Async" in kind else found
        else:
            found = handle.execution_options(isolation_level="AUTOCOMMIT")
            _ = await found if "Async" in kind else found

        with pytest.raises(AutocommitHandle, match="autocommit"):
            await door.publish(MESSAGE)


def test_autocommit_of_a_whole_engine_is_refused(database: str) -> None:
    engine = create_engine(
        sqlalchemy_url(database), poolclass=pool.NullPool, isolation_level="AUTOCOMMIT"
    )
    with Session(engine) as session, pytest.raises(AutocommitHandle):
        publish(session, MESSAGE)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_failed_transaction_is_refused(kind: str, database: str) -> None:
    async with opened(kind, database) as door:
        with pytest.raises((psycopg.Error, DBAPIError)):
            await door.run("select 1 / 0")

        with pytest.raises(TransactionFailed, match="roll it back"):
            await door.publish(MESSAGE)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_transaction_made_read_only_in_sql_is_refused_and_survives(
    kind: str, database: str
) -> None:
    """No client knows of it: the function in the database asks before it writes."""
    async with opened(kind, database) as door:
        await door.run("set transaction read only")
        with pytest.raises(TransactionReadOnly, match="read-only"):
            await door.publish(MESSAGE)
        with pytest.raises(TransactionReadOnly):
            await door.publish(MESSAGE, dedup_key="k")

        assert await door.survives()


def test_a_connection_made_read_only_is_refused_before_any_sql(database: str) -> None:
    with psycopg.connect(database) as conn:
        conn.read_only = True
        with pytest.raises(TransactionReadOnly):
            publish(conn, MESSAGE)

        assert conn.info.transaction_status.name == "IDLE"


@pytest.mark.parametrize("kind", ASYNC)
async def test_publish_refuses_an_async_handle(kind: str, database: str) -> None:
    async with opened(kind, database) as door:
        with pytest.raises(HandleUnusable, match=r"await apublish"):
            publish(door.handle, MESSAGE)


@pytest.mark.parametrize("kind", SYNC)
async def test_apublish_refuses_a_sync_handle(kind: str, database: str) -> None:
    async with opened(kind, database) as door:
        with pytest.raises(HandleUnusable, match=r"call publish"):
            await apublish(door.handle, MESSAGE)


@pytest.mark.parametrize("handle", [None, "postgresql://", object()])
def test_publish_refuses_what_is_no_handle(handle: Any) -> None:
    with pytest.raises(HandleUnusable, match="give a SQLAlchemy Session or Connection"):
        publish_of(handle)(handle, MESSAGE)


def test_a_handle_over_another_driver_is_refused() -> None:
    """The engine's statement would fail there in the middle of the caller's transaction."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection, Session(connection) as session:
        for handle in (connection, session):
            with pytest.raises(
                HandleUnusable, match=r"sqlite\+pysqlite: make the engine with postgresql\+psycopg:"
            ):
                publish(handle, MESSAGE)
            assert session.execute(text("select 1")).scalar() == 1
    engine.dispose()


def test_an_error_never_quotes_the_payload() -> None:
    secret = OrderPlaced(order_id=1, note="someone@example.org" + "\0")

    with pytest.raises(PayloadInvalid) as refused:
        encode(secret)

    assert "example.org" not in str(refused.value)


def test_the_session_of_a_refused_handle_is_left_alone(database: str) -> None:
    """Nothing is begun on a session that is only asked whether it fits."""
    engine = create_engine(sqlalchemy_url(database), poolclass=pool.NullPool)
    with Session(engine) as session:
        with pytest.raises(KeyInvalid):
            publish(session, MESSAGE, key="")

        assert not session.in_transaction()
        assert session.execute(text("select 1")).scalar() == 1
