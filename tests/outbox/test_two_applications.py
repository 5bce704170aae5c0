"""Two applications on one database: neither takes the other's handlers, and each knows its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import AsyncConnection
from structlog.testing import capture_logs

from outbox import App, Relay
from outbox.errors import AppInvalid, HandlerTaken, SchemaError
from outbox.explain import explain
from outbox.queries_cluster import adopt_handlers, register
from outbox.testing import OutboxHarness
from tests.outbox.shop import OrderPlaced, StockChanged, made, mailer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typer.testing import Result

    from tests.outbox.conftest import Rows

MAILER, LEDGER = mailer(), mailer(name="ledger")


def missing_told(logs: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    return [(one["handler"], one["waiting"]) for one in logs if one["event"] == "handler.unknown"]


async def test_a_name_that_another_application_has_is_refused(database: str, rows: Rows) -> None:
    """The second would take away deliveries, and end them by rules that are not theirs."""
    async with OutboxHarness.opened(made(MAILER), database):
        pass
    second = made(LEDGER, mailer(messages=(StockChanged,)), name="bookshop")

    with pytest.raises(HandlerTaken, match=r"'mailer' to 'shop'.*outbox adopt mailer --from shop"):
        async with Relay(second, database).opened():
            raise AssertionError

    assert rows("select handler, application from outbox.destination") == [("mailer", "shop")]
    assert rows("select topic, handler from outbox.route") == [("order.placed", "mailer")]


async def test_of_two_that_come_at_once_the_second_is_refused(database: str, rows: Rows) -> None:
    """The row of the name is locked by the first: the second waits, and then sees an owner."""
    async with (
        await AsyncConnection.connect(database) as first,
        await AsyncConnection.connect(database) as second,
    ):
        await register(first, made(MAILER))
        late = asyncio.create_task(register(second, made(MAILER, name="bookshop")))
        waits = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
        while rows(waits, second.info.backend_pid) != [(True,)]:  # noqa: ASYNC110 - the server tells
            await asyncio.sleep(0)
        await first.commit()

        with pytest.raises(HandlerTaken):
            await late


async def test_a_relay_ignores_the_other_applications_handlers(database: str, rows: Rows) -> None:
    """What they have waiting is none of its business, and nothing to warn about."""
    shop, books = made(MAILER), made(LEDGER, name="bookshop")
    async with OutboxHarness.opened(books, database), OutboxHarness.opened(shop, database) as box:
        await box.publish(OrderPlaced(order_id=1))
        with capture_logs() as logs:
            async with OutboxHarness.opened(shop, database) as again:
                tried = await again.drain()

    assert tried == 1
    assert missing_told(logs) == []
    assert rows("select handler from outbox.delivery") == [("ledger",)]


async def test_a_renamed_handler_with_deliveries_waiting_is_told_and_found_again(
    database: str, rows: Rows
) -> None:
    """Its deliveries go under the old name for as long as it is registered too."""
    async with OutboxHarness.opened(made(MAILER), database) as box:
        await box.publish(OrderPlaced(order_id=1))
    ((waiting,),) = rows("select id from outbox.delivery")
    renamed = replace(MAILER, name="letters")

    with capture_logs() as logs:
        async with OutboxHarness.opened(made(renamed), database) as box:
            assert await box.drain() == 0
            async with box.relay.pool.connection() as conn:
                told = await explain(conn, box.app, waiting, now=box.clock.now())
    async with OutboxHarness.opened(made(renamed, MAILER), database) as both:
        found_again = await both.drain()

    assert missing_told(logs) == [("mailer", 1)]
    assert told is not None
    assert told.state == "no handler"
    assert "'mailer' of application 'shop'; was it renamed?" in told.reason
    assert found_again == 1


async def test_an_application_that_was_renamed_takes_its_handlers_over(database: str) -> None:
    async with OutboxHarness.opened(made(MAILER, LEDGER), database):
        pass
    renamed = made(MAILER, name="webshop")

    async with await AsyncConnection.connect(database, autocommit=True) as conn:
        terms: dict[str, Any] = {"handlers": ["mailer"], "application": "webshop"}
        assert await adopt_handlers(conn, owner="somebody else", **terms) == []
        assert await adopt_handlers(conn, owner="shop", **terms) == ["mailer"]

    async with OutboxHarness.opened(renamed, database):
        pass
    with pytest.raises(HandlerTaken, match="'mailer' to 'webshop'"):
        async with Relay(made(MAILER), database).opened():
            raise AssertionError


async def test_a_handler_of_an_older_schema_belongs_to_who_comes_first(
    database: str, rows: Rows
) -> None:
    rows("insert into outbox.destination (handler, paused_by) values ('mailer', 'somebody')")

    async with OutboxHarness.opened(made(MAILER), database):
        pass

    assert rows("select application, paused_by from outbox.destination") == [("shop", "somebody")]


class _InOurSchema:
    """A history that would live in the engine's schema."""

    version_table_schema, version_table = "outbox", "alembic_version"


def test_an_applications_history_may_not_live_in_the_engines_schema() -> None:
    history: Any = _InOurSchema()
    with pytest.raises(AppInvalid, match="schema 'outbox' is the engine's; keep yours"):
        App("shop", histories=(history,))


def test_tables_of_an_application_in_the_engines_schema_are_told(
    empty_database: str, monkeypatch: pytest.MonkeyPatch, command_line: Callable[..., Result]
) -> None:
    """They are there by then, so it is said what to do with them."""

    class Intruding(_InOurSchema):
        version_table_schema = "shop"

        def upgrade(self, dsn: str, revision: str = "head") -> None:
            del revision
            with psycopg.connect(dsn) as conn:
                conn.execute("create table outbox.basket (id bigint)")

        def current(self, dsn: str) -> str:
            del dsn
            return "1"

    histories: Any = (Intruding(),)
    monkeypatch.setenv("DATABASE_URL", empty_database)

    ran = command_line(App("shop", histories=histories), "migrate")

    assert isinstance(ran.exception, SchemaError)
    assert "made outbox.basket in schema 'outbox'" in str(ran.exception)


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, None])
def test_an_application_has_a_name(name: Any) -> None:
    with pytest.raises(AppInvalid, match="a text of 1 to 100 characters"):
        App(name)
