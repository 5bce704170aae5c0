"""What a relay says before it starts: unreachable, not migrated, newer, older."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest

from outbox import Relay
from outbox.errors import (
    DatabaseUnreachable,
    SchemaError,
    SchemaMissing,
    SchemaTooNew,
    SchemaTooOld,
)
from outbox.migrations import ENGINE
from outbox.readiness import check_history, require_schema
from tests.outbox.shop import made, mailer

if TYPE_CHECKING:
    from tests.outbox.conftest import Rows

NOWHERE = "postgresql://clerk:s3cret-word@127.0.0.1:1/shop"


async def test_an_unreachable_database_is_named_without_its_password() -> None:
    with pytest.raises(DatabaseUnreachable, match=r"127\.0\.0\.1:1/shop.*DATABASE_URL") as refused:
        await require_schema(NOWHERE)

    assert "s3cret-word" not in str(refused.value)
    assert "clerk" not in str(refused.value)


async def test_a_database_never_migrated_says_what_to_do(empty_database: str) -> None:
    relay = Relay(made(mailer()), empty_database)
    with pytest.raises(SchemaMissing, match="outbox migrate"):
        async with relay.opened():
            raise AssertionError


async def test_a_newer_schema_is_refused(database: str, rows: Rows) -> None:
    (known,) = rows("select version_num from outbox.revision")
    (suits,) = rows("select compatible_from from outbox.compatibility")
    rows("update outbox.compatibility set compatible_from = '9999'")
    rows("update outbox.revision set version_num = '9999'")
    try:
        with pytest.raises(SchemaTooNew, match="9999"):
            await require_schema(database)
        with pytest.raises(SchemaTooNew, match="install the newer version"):
            ENGINE.upgrade(database)
    finally:
        rows("update outbox.revision set version_num = %s", known[0])
        rows("update outbox.compatibility set compatible_from = %s", suits[0])


async def test_code_runs_on_a_newer_schema_that_still_suits_it(
    database: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a deploy the schema goes first. Only `migrate` refuses; code older than that does too."""
    (known,) = rows("select version_num from outbox.revision")
    (suits,) = rows("select compatible_from from outbox.compatibility")
    rows("update outbox.revision set version_num = '9999'")
    try:
        async with Relay(made(mailer()), database).opened():
            pass
        with pytest.raises(SchemaTooNew, match="9999"):
            ENGINE.upgrade(database)
        rows("update outbox.compatibility set compatible_from = '9998'")
        with pytest.raises(SchemaTooNew, match="install the newer version"):
            await require_schema(database)
        monkeypatch.setattr(type(ENGINE), "known", lambda _: ["9998", known[0]])
        await require_schema(database)
    finally:
        rows("update outbox.revision set version_num = %s", known[0])
        rows("update outbox.compatibility set compatible_from = %s", suits[0])


async def test_an_application_s_history_says_who_may_run_on_it(database: str, rows: Rows) -> None:
    history = AppHistory()
    with pytest.raises(SchemaError, match="at revision 0009"):
        await check_history(history, database)
    rows("insert into outbox.compatibility values ('app.version', '0006')")
    with pytest.raises(SchemaError, match="deploy the program that made them"):
        await check_history(history, database)
    rows("update outbox.compatibility set compatible_from = '0004' where history = 'app.version'")
    await check_history(history, database)
    rows("delete from outbox.compatibility where history = 'app.version'")


class AppHistory:
    """An application whose tables were migrated by a newer version of it."""

    version_table_schema, version_table = "app", "version"

    def current(self, dsn: str) -> str | None:
        del dsn
        return "0009"

    def known(self) -> list[str]:
        return ["0005", "0004", "0003"]


async def test_an_older_schema_says_what_to_do(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The history is told of one revision more than there is."""
    monkeypatch.setattr(type(ENGINE), "known", lambda _: ["9998", ENGINE.head()])

    with pytest.raises(SchemaTooOld, match="needs 9998; run `outbox migrate`"):
        await require_schema(database)


def test_the_way_down_leaves_nothing_and_the_way_up_works_again(empty_database: str) -> None:
    tables = (
        "select count(*) from pg_tables where schemaname = 'outbox' and tablename <> 'revision'"
    )
    with psycopg.connect(empty_database, autocommit=True) as conn:
        ENGINE.upgrade(empty_database)
        made_once = conn.execute(tables).fetchone()
        ENGINE.downgrade(empty_database, "base")
        left = conn.execute(tables).fetchone()
        ENGINE.upgrade(empty_database)

        assert left == (0,)
        assert made_once is not None
        assert conn.execute(tables).fetchone() == made_once


def test_two_deploys_at_once_take_turns(empty_database: str) -> None:
    with ThreadPoolExecutor(2) as deploys:
        for done in [deploys.submit(ENGINE.upgrade, empty_database) for _ in range(2)]:
            done.result(timeout=60)

    assert ENGINE.current(empty_database) == ENGINE.head()
