"""Publisher, relay and reader: each can do its part, and no other."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outbox import Effect, Publication, Relay, publish, publish_many
from outbox.errors import SchemaError
from outbox.migrations import ENGINE
from outbox.roles import TABLES, script
from tests.outbox.shop import OrderPlaced, Unheard, count_order, made, mailer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typer.testing import Result

    from tests.outbox.conftest import Rows

MESSAGE = OrderPlaced(order_id=1)


@pytest.fixture
def as_role(database: str) -> Iterator[Callable[[str], str]]:
    """The DSN of a session with the rights of one role; the roles go with the test."""
    prefix = f"outbox_{secrets.token_hex(4)}"
    with psycopg.connect(database, autocommit=True) as conn:
        for statement in script(prefix):
            conn.execute(statement.encode())
        conn.execute(f"grant insert on effect to {prefix}_relay".encode())
        more = "&" if "?" in database else "?"
        yield lambda part: f"{database}{more}options=-c%20role%3D{prefix}_{part}"
        for part in ("publisher", "relay", "reader"):
            conn.execute(f"drop owned by {prefix}_{part}; drop role {prefix}_{part}".encode())


def refused(dsn: str, *statements: str) -> list[str]:
    """Those of the statements that the role may not run."""
    out = []
    with psycopg.connect(dsn, autocommit=True) as conn:
        for statement in statements:
            try:
                conn.execute(statement.encode())
            except psycopg.errors.InsufficientPrivilege:
                out.append(statement)
    return out


def test_every_table_says_who_may_use_it(rows: Rows) -> None:
    """A new table is for nobody until somebody has decided."""
    found = rows(
        "select relname from pg_class where relnamespace = 'outbox'::regnamespace"
        " and relkind in ('r', 'p', 'v', 'm')"
    )
    assert sorted(name for (name,) in found) == sorted(TABLES)


def test_a_publisher_publishes_and_sees_nothing(
    as_role: Callable[[str], str], database: str
) -> None:
    dsn = as_role("publisher")
    made_by_others = "select outbox.publish('order.placed', '{\"order_id\": 1}', 'key', 'once')"
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("insert into outbox.route values ('order.placed', 'mailer', true)")
        conn.execute(made_by_others.encode())
    with psycopg.connect(dsn) as conn:
        first = publish(conn, MESSAGE, key="k", dedup_key="d")
        again = publish(conn, MESSAGE, dedup_key="d")
        parked = publish(conn, Unheard())
        many = publish_many(conn, [Publication(message=MESSAGE, key="k")] * 3)
        conn.execute(made_by_others.replace("once", "twice").encode())

    assert (first.deliveries, again.duplicate, parked.deliveries, len(many)) == (1, True, 0, 3)
    forbidden = [
        "select payload from outbox.message",
        "select key from outbox.message",
        "select * from outbox.delivery",
        "select * from outbox.receipt",
        "select * from outbox.dead_letter",
        "select * from outbox.saga",
        "update outbox.delivery set due_at = now()",
        "delete from outbox.delivery",
        "insert into outbox.receipt default values",
        "update outbox.message set payload = '{}'",
        "delete from outbox.message",
        "insert into outbox.route values ('a.b', 'x')",
        "update outbox.destination set paused_at = now()",
        "create table outbox.mine (id bigint)",
    ]
    assert refused(dsn, *forbidden) == forbidden


async def test_a_relay_relays_and_does_not_migrate(
    as_role: Callable[[str], str], database: str, rows: Rows
) -> None:
    dsn = as_role("relay")
    app = made(mailer(), mailer(count_order, name="ledger", effect=Effect.DATABASE))
    async with Relay(app, dsn).opened() as relay:
        with psycopg.connect(database) as conn:
            publish_many(conn, [Publication(message=MESSAGE, key="k")] * 3)
        assert await relay.drain() == 6

    assert rows("select count(*) from outbox.receipt where outcome = 'done'") == [(6,)]
    forbidden = [
        "update outbox.message set payload = '{}'",
        "update outbox.receipt set outcome = 'done'",
        "update outbox.revision set version_num = '0'",
        "truncate outbox.delivery",
        "drop table outbox.delivery",
        "alter table outbox.delivery add column mine text",
        "create table outbox.mine (id bigint)",
    ]
    assert refused(dsn, *forbidden) == forbidden
    with pytest.raises(SchemaError, match=r"may not migrate.*owns the engine's tables"):
        ENGINE.downgrade(dsn, "base")


def test_a_reader_looks_and_changes_nothing(
    as_role: Callable[[str], str],
    database: str,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
    command_line: Callable[..., Result],
) -> None:
    dsn = as_role("reader")
    with psycopg.connect(database) as conn:
        conn.execute("insert into outbox.route values ('order.placed', 'mailer', false)")
        publish(conn, MESSAGE)
    ((waiting,),) = rows("select id from outbox.delivery")
    monkeypatch.setenv("DATABASE_URL", dsn)

    def said(*args: Any) -> Result:
        return command_line(made(mailer()), *map(str, args))

    assert [said("status", "--json").exception, said("explain", waiting).exception] == [None, None]
    assert isinstance(
        said("pause", "mailer", "--why", "x", "--actor", "me").exception,
        psycopg.errors.InsufficientPrivilege,
    )
    forbidden = ["select payload from outbox.message", "select headers from outbox.message"]
    for table in TABLES:
        forbidden += [f"delete from outbox.{table}", f"insert into outbox.{table} default values"]
    assert refused(dsn, *forbidden) == forbidden


def test_the_script_may_run_again(as_role: Callable[[str], str], database: str) -> None:
    prefix = as_role("relay").rpartition("%3D")[2].removesuffix("_relay")
    with psycopg.connect(database) as conn:
        before = conn.execute(
            "select count(*) from pg_roles where rolname like %s", [f"{prefix}%"]
        ).fetchone()
        for statement in script(prefix):
            conn.execute(statement.encode())
        again = conn.execute(
            "select count(*) from pg_roles where rolname like %s", [f"{prefix}%"]
        ).fetchone()
    assert again == before
