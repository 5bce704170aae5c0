"""What a relay says before it starts: unreachable, not migrated, newer, older."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from outbox import Relay
from outbox.errors import DatabaseUnreachable, SchemaMissing, SchemaTooNew, SchemaTooOld
from outbox.migrations import ENGINE
from outbox.readiness import require_schema
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
    rows("update outbox.revision set version_num = '9999'")
    try:
        with pytest.raises(SchemaTooNew, match="9999"):
            await require_schema(database)
        with pytest.raises(SchemaTooNew, match="install the newer version"):
            ENGINE.upgrade(database)
    finally:
        rows("update outbox.revision set version_num = %s", known[0])


async def test_an_older_schema_says_what_to_do(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is one revision so far; the history is told of another."""
    monkeypatch.setattr(type(ENGINE), "known", lambda _: ["0002", ENGINE.head()])

    with pytest.raises(SchemaTooOld, match="needs 0002; run `outbox migrate`"):
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
