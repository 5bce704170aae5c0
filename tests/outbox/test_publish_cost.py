"""What publishing costs the server, by its own counters and the client's: never by time.

The bounds leave a third of room over what was measured; they are there to catch a statement, an
index or a copy of the payload that slips in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import psycopg
import pytest

from outbox import Publication, publish, publish_many
from outbox.publication import BATCH_ROWS_MAX
from tests.outbox.shop import OrderPlaced

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.outbox.conftest import Rows

MESSAGES = 200


class Counting(psycopg.Cursor[Any]):
    """A cursor that counts what it sends."""

    sent = 0

    def execute(self, *args: Any, **kwargs: Any) -> Self:
        Counting.sent += 1
        return super().execute(*args, **kwargs)


@pytest.fixture(autouse=True)
def route(rows: Rows) -> None:
    rows("insert into outbox.route (topic, handler) values ('order.placed', 'mailer')")


def statements_of(dsn: str, act: Callable[[psycopg.Connection[Any]], object]) -> int:
    with psycopg.connect(dsn, cursor_factory=Counting) as conn:
        Counting.sent = 0
        act(conn)
        return Counting.sent


def wal_bytes_of(dsn: str, act: Callable[[psycopg.Connection[Any]], object]) -> int:
    """Bytes of WAL between two moments; nobody else writes to the server meanwhile but itself."""
    position = "select pg_current_wal_insert_lsn() - '0/0'"
    with psycopg.connect(dsn) as conn:
        act(conn)  # first: pages are touched, sequences logged, plans made
        conn.commit()
        begin = conn.execute(position).fetchone()
        act(conn)
        conn.commit()
        end = conn.execute(position).fetchone()
    assert begin is not None
    assert end is not None
    return int(end[0] - begin[0])


def test_one_message_is_one_statement(database: str) -> None:
    assert statements_of(database, lambda conn: publish(conn, OrderPlaced(order_id=1))) == 1
    assert (
        statements_of(
            database, lambda conn: publish(conn, OrderPlaced(order_id=1), key="k", dedup_key="d")
        )
        == 1
    )


@pytest.mark.parametrize("count", [1, 2, BATCH_ROWS_MAX])
def test_a_batch_is_one_statement(count: int, database: str) -> None:
    many = [Publication(message=OrderPlaced(order_id=n)) for n in range(count)]

    assert statements_of(database, lambda conn: publish_many(conn, many)) == 1


def test_one_prepared_statement_serves_every_call(database: str) -> None:
    """Terms that differ in type would each be prepared, and parsed, on their own."""
    with psycopg.connect(database) as conn:
        for n in range(20):
            publish(conn, OrderPlaced(order_id=n), sequence=10**n if n < 19 else None)
            publish(conn, OrderPlaced(order_id=n), key=f"k:{n}", priority=n)
        prepared = conn.execute(
            "select count(*) from pg_prepared_statements where statement like '%publish_message%'"
        ).fetchone()

    assert prepared == (1,)


def test_a_message_and_its_delivery_write_little_wal(database: str) -> None:
    """Two rows and their index entries: 550 bytes were measured."""

    def one_by_one(conn: psycopg.Connection[Any]) -> None:
        for n in range(MESSAGES):
            publish(conn, OrderPlaced(order_id=n))

    def at_once(conn: psycopg.Connection[Any]) -> None:
        publish_many(conn, [Publication(message=OrderPlaced(order_id=n)) for n in range(MESSAGES)])

    assert wal_bytes_of(database, one_by_one) / MESSAGES < 750
    assert wal_bytes_of(database, at_once) / MESSAGES < 750


def test_publishing_looks_for_no_message(database: str) -> None:
    """A key that asked whether the message is there took a third of the server's time."""
    with psycopg.connect(database) as conn:
        publish(conn, OrderPlaced(order_id=0))
        publish_many(conn, [Publication(message=OrderPlaced(order_id=n)) for n in range(20)])
        looked = conn.execute(
            "select seq_scan + idx_scan from pg_stat_xact_all_tables"
            " where relid = 'outbox.message'::regclass"
        ).fetchone()

    assert looked == (0,)


def test_publishing_reads_no_table_from_end_to_end_but_the_relays(
    database: str, rows: Rows
) -> None:
    """The relays are a handful of rows; for all else there is an index.

    A planner may still read an almost empty table whole, as it likes on the day: told not to, it
    does so only where no index serves.
    """
    with psycopg.connect(database, options="-c enable_seqscan=off") as conn:
        for n in range(20):
            publish(conn, OrderPlaced(order_id=n), dedup_key=f"d:{n}")
        scanned = conn.execute(
            "select relname from pg_stat_xact_all_tables where schemaname = 'outbox'"
            " and seq_scan > 0 and relname not in ('relay', 'route') order by relname"
        ).fetchall()

    assert scanned == []
    assert rows("select count(*) from outbox.message") == [(20,)]
