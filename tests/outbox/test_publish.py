"""P1: a message exists if and only if the caller's transaction committed, whatever the handle."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import create_engine, pool
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from outbox import Publication, PublishReceipt, publish, publish_many
from outbox.dsn import sqlalchemy_url
from tests.outbox.doors import KINDS, opened
from tests.outbox.shop import OrderPlaced, StockChanged, Unheard

if TYPE_CHECKING:
    from tests.outbox.conftest import Rows

MESSAGES = "select topic, version, payload, key, sequence, correlation_id from outbox.message"
NEXT_WEEK = datetime.now(UTC).replace(microsecond=0) + timedelta(days=7)


@pytest.fixture(autouse=True)
def routes(rows: Rows) -> None:
    """Orders go to two handlers, one of them ordered; stock goes to one."""
    rows(
        "insert into outbox.route (topic, handler, ordered)"
        " values ('order.placed', 'mailer', false), ('order.placed', 'ledger', true),"
        " ('stock.changed', 'shelf', true)"
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_a_message_commits_with_the_callers_change(
    kind: str, database: str, rows: Rows
) -> None:
    async with opened(kind, database) as door:
        await door.change()
        receipt = await door.publish(OrderPlaced(order_id=7), key="customer:1")
        unseen = rows("select count(*) from outbox.message")
        await door.commit()

    assert unseen == [(0,)]
    assert receipt.deliveries == 2
    assert not receipt.duplicate
    assert rows("select id from outbox.message") == [(receipt.message_id,)]
    assert rows("select note from effect") == [("mine",)]
    assert rows("select handler, key from outbox.delivery order by handler") == [
        ("ledger", "customer:1"),
        ("mailer", None),
    ]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_message_vanishes_with_the_callers_change(
    kind: str, database: str, rows: Rows
) -> None:
    async with opened(kind, database) as door:
        await door.change()
        await door.publish(OrderPlaced(order_id=7), dedup_key="order:7")
        await door.publish(Unheard())
        await door.rollback()

    for table in ("message", "delivery", "dedup", "unrouted"):
        assert rows(f"select count(*) from outbox.{table}") == [(0,)]
    assert rows("select * from effect") == []


def test_a_savepoint_takes_its_messages_along(database: str, rows: Rows) -> None:
    with psycopg.connect(database) as conn:
        publish(conn, OrderPlaced(order_id=1))
        with conn.transaction(force_rollback=True):
            publish(conn, OrderPlaced(order_id=2))

    assert rows("select payload ->> 'order_id' from outbox.message") == [("1",)]


def test_a_transaction_block_makes_an_autocommit_connection_fit(database: str, rows: Rows) -> None:
    with psycopg.connect(database, autocommit=True) as conn, conn.transaction():
        publish(conn, OrderPlaced(order_id=1))

    assert rows("select count(*) from outbox.message") == [(1,)]


def test_a_scoped_session_is_a_session(database: str, rows: Rows) -> None:
    engine = create_engine(sqlalchemy_url(database), poolclass=pool.NullPool)
    registry = scoped_session(sessionmaker(engine))
    publish(registry, OrderPlaced(order_id=1))
    registry.commit()
    registry.remove()

    assert rows("select count(*) from outbox.message") == [(1,)]


def test_every_term_is_stored_as_given(database: str, rows: Rows) -> None:
    with psycopg.connect(database) as conn:
        publish(
            conn,
            StockChanged(shelf="Ä'\"\\", count=3),
            key="shelf:Ä",
            sequence=41,
            due_at=NEXT_WEEK,
            priority=5,
            correlation_id="saga:1",
        )

    assert rows(MESSAGES) == [
        ("stock.changed", 1, {"shelf": "Ä'\"\\", "count": 3}, "shelf:Ä", 41, "saga:1")
    ]
    assert rows("select key, position, priority, due_at from outbox.delivery") == [
        ("shelf:Ä", 41, 5, NEXT_WEEK)
    ]


def test_many_are_published_in_order_and_receipts_come_in_order(database: str, rows: Rows) -> None:
    with psycopg.connect(database) as conn:
        receipts = publish_many(
            conn, [Publication(message=OrderPlaced(order_id=n)) for n in range(500)]
        )

    stored = rows("select id, (payload ->> 'order_id')::int from outbox.message order by id")
    assert [(r.message_id, n) for n, r in enumerate(receipts)] == stored
    assert rows("select count(*) from outbox.delivery") == [(1_000,)]


def test_many_of_nothing_is_nothing(database: str) -> None:
    with psycopg.connect(database) as conn:
        assert publish_many(conn, []) == []


def test_one_call_may_hold_the_same_dedup_key_twice(database: str, rows: Rows) -> None:
    twice = [Publication(message=OrderPlaced(order_id=n), dedup_key="same") for n in (1, 2)]
    with psycopg.connect(database) as conn:
        first, second = publish_many(conn, twice)

    assert second == PublishReceipt(first.message_id, duplicate=True, deliveries=0)
    assert rows("select payload ->> 'order_id' from outbox.message") == [("1",)]


def test_a_dedup_key_is_taken_within_its_topic_only(database: str) -> None:
    with psycopg.connect(database) as conn:
        first = publish(conn, OrderPlaced(order_id=1), dedup_key="k")
        other = publish(conn, StockChanged(shelf="a", count=1), dedup_key="k")

    assert not first.duplicate
    assert not other.duplicate


def test_a_session_publishes_beside_its_objects(database: str, rows: Rows) -> None:
    engine = create_engine(sqlalchemy_url(database), poolclass=pool.NullPool)
    with Session(engine) as session, session.begin():
        publish(session, OrderPlaced(order_id=9))

    assert rows("select payload ->> 'order_id' from outbox.message") == [("9",)]


def test_sql_publishes_what_the_library_publishes(database: str, rows: Rows) -> None:
    """A trigger or another language gets the same rows, to the last column."""
    message = StockChanged(shelf="a", count=1)
    with psycopg.connect(database) as conn:
        publish(conn, message, key="a", sequence=3, due_at=NEXT_WEEK, correlation_id="c")
        conn.execute(
            "select outbox.publish('stock.changed', %s, key => 'a', sequence => 3, due_at => %s,"
            " correlation_id => 'c')",
            (message.model_dump_json(), NEXT_WEEK),
        )

    columns = "topic, version, payload, headers, key, sequence, correlation_id, causation_id"
    first, second = rows(f"select {columns} from outbox.message order by id")
    assert first == second
    one, two = rows(
        "select handler, key, position, priority, due_at, attempts from outbox.delivery order by id"
    )
    assert one == two


def test_sql_publish_tells_the_winner_of_a_dedup_key(rows: Rows) -> None:
    call = "select outbox.publish('order.placed', '{\"order_id\": 1}', dedup_key => 'k')"

    assert rows(call) == rows(call)


@pytest.mark.parametrize(
    ("arguments", "sqlstate"),
    [
        ("'Order', '{}'", "22023"),
        ("null, '{}'", "22023"),
        ("'outbox.timer', '{}'", "42939"),
        ("'a.' || repeat('x', 119), '{}'", "22023"),
        ("'order.placed', '{}', key => ''", "23514"),
        ("'order.placed', '{}', dedup_key => ''", "23514"),
        ("'order.placed', '{}', version => 0", "23514"),
        ("'order.placed', null", "23502"),
        ("'order.placed', to_jsonb(repeat('x', 300001))", "54000"),
    ],
)
def test_sql_publish_refuses_what_cannot_be_delivered(
    arguments: str, sqlstate: str, rows: Rows
) -> None:
    with pytest.raises(psycopg.Error) as refused:
        rows(f"select outbox.publish({arguments})")

    assert refused.value.sqlstate == sqlstate


def test_the_loser_of_a_race_learns_the_winners_id(database: str) -> None:
    """It waits for the winner's commit, and a second statement sees what the first could not."""
    with psycopg.connect(database) as winner, psycopg.connect(database) as loser:
        first = publish(winner, OrderPlaced(order_id=1), dedup_key="k")
        second = asyncio.run(_published_while(database, loser, winner, commit=True))

    assert second == PublishReceipt(first.message_id, duplicate=True, deliveries=0)


def test_a_winner_that_rolls_back_leaves_the_waiter_as_winner(database: str, rows: Rows) -> None:
    with psycopg.connect(database) as winner, psycopg.connect(database) as waiter:
        publish(winner, OrderPlaced(order_id=1), dedup_key="k")
        second = asyncio.run(_published_while(database, waiter, winner, commit=False))
        waiter.commit()

    assert not second.duplicate
    assert rows("select id from outbox.message") == [(second.message_id,)]


async def _published_while(
    dsn: str,
    waiter: psycopg.Connection[tuple[object, ...]],
    winner: psycopg.Connection[tuple[object, ...]],
    *,
    commit: bool,
) -> PublishReceipt:
    """Publish the same key while `winner` holds it; it is let go once the server shows the wait."""
    waiting = asyncio.create_task(
        asyncio.to_thread(publish, waiter, OrderPlaced(order_id=2), dedup_key="k")
    )
    with psycopg.connect(dsn, autocommit=True) as observer:
        seen = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
        async with asyncio.timeout(20):
            while observer.execute(  # noqa: ASYNC110 - the server tells
                seen, (waiter.info.backend_pid,)
            ).fetchone() != (True,):
                await asyncio.sleep(0)
    winner.commit() if commit else winner.rollback()
    return await waiting


def test_headers_are_json_of_the_trace_in_force(database: str, rows: Rows) -> None:
    with psycopg.connect(database) as conn:
        publish(conn, OrderPlaced(order_id=1))

    assert json.dumps(rows("select headers from outbox.message")[0][0]) == "{}"


def test_the_callers_search_path_decides_nothing(database: str, rows: Rows) -> None:
    """The functions take it over: what stands first on it is not taken for the engine's own."""
    with psycopg.connect(database) as conn:
        for name in ("message", "delivery", "route", "relay", "dedup", "unrouted"):
            conn.execute(f"create temp table {name} (id integer)")
        conn.execute("set local search_path = pg_temp, pg_catalog")
        publish(conn, OrderPlaced(order_id=1), dedup_key="k")
        publish(conn, Unheard())
        publish_many(conn, [Publication(message=OrderPlaced(order_id=2))])
        conn.execute("select outbox.publish('stock.changed', '{}')")

    assert rows("select count(*) from outbox.message") == [(4,)]


def test_a_publisher_in_repeatable_read_learns_a_winner_it_can_see(database: str) -> None:
    with psycopg.connect(database) as conn:
        first = publish(conn, OrderPlaced(order_id=1), dedup_key="k")
    with psycopg.connect(database) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        second = publish(conn, OrderPlaced(order_id=2), dedup_key="k")

    assert second == PublishReceipt(first.message_id, duplicate=True, deliveries=0)


def test_a_winner_beyond_the_snapshot_is_a_serialization_failure(database: str, rows: Rows) -> None:
    """Its snapshot hides whom it lost to: the transaction is repeated, and nothing is kept."""
    with psycopg.connect(database) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.execute("select count(*) from outbox.message")
        with psycopg.connect(database) as other:
            winner = publish(other, OrderPlaced(order_id=1), dedup_key="k")
        with pytest.raises(psycopg.errors.SerializationFailure):
            publish(conn, OrderPlaced(order_id=2), dedup_key="k")
        conn.rollback()
        again = publish(conn, OrderPlaced(order_id=2), dedup_key="k")

    assert again == PublishReceipt(winner.message_id, duplicate=True, deliveries=0)
    assert rows("select count(*) from outbox.message") == [(1,)]
