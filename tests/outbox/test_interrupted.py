"""A migration that is broken off: killed between its statements, or while an index is built."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outbox.migrations import ENGINE

if TYPE_CHECKING:
    from collections.abc import Iterator

INVALID = "select count(*) from pg_index where not indisvalid"
BUILDING = (
    "select pid from pg_stat_activity where datname = current_database()"
    " and query like '%create index concurrently%' and wait_event_type = 'Lock'"
)
WAITING = (
    "select pid from pg_stat_activity where datname = current_database()"
    " and query like '%pg_stat_progress_create_index%' and pid <> pg_backend_pid()"
)
BLOCKED = (
    "select pid from pg_stat_activity where datname = current_database()"
    " and wait_event_type = 'Lock' and pid <> pg_backend_pid()"
)
INDEX = "select count(*) from pg_index where indexrelid = 'outbox.delivery_unknown_idx'::regclass"


@contextmanager
def migrating(dsn: str, revision: str = "head") -> Iterator[subprocess.Popen[bytes]]:
    """Somebody else's deploy; killed at the end if it still runs."""
    program = "import sys; from outbox.migrations import ENGINE; ENGINE.upgrade(*sys.argv[1:])"
    with subprocess.Popen([sys.executable, "-c", program, dsn, revision]) as process:
        try:
            yield process
        finally:
            process.kill()


def until_rows(conn: psycopg.Connection, statement: str) -> list[tuple[Any, ...]]:
    """Wait until the database's state is so."""
    deadline = time.monotonic() + 60
    while not (found := conn.execute(statement.encode()).fetchall()):
        assert time.monotonic() < deadline, statement
        conn.execute("select pg_sleep(0.02)")
    return found


def test_a_deploy_killed_in_a_revision_leaves_nothing_of_it(empty_database: str) -> None:
    """Each revision is one transaction with its line in the version table."""
    ENGINE.upgrade(empty_database, "0003")
    looking = psycopg.connect(empty_database, autocommit=True)
    with looking, psycopg.connect(empty_database) as holder:
        holder.execute("lock table outbox.saga in access share mode")
        with migrating(empty_database) as deploy:
            until_rows(looking, BLOCKED)
            stopped_after = ENGINE.current(empty_database)
            deploy.kill()
            deploy.wait()
    ENGINE.upgrade(empty_database)

    assert stopped_after not in {None, ENGINE.head()}
    assert ENGINE.current(empty_database) == ENGINE.head()


@pytest.mark.parametrize("server_goes_on", [False, True])
def test_an_index_broken_off_is_built_again(empty_database: str, *, server_goes_on: bool) -> None:
    """An invalid one would be taken for the one that is wanted; one under way is waited for."""
    ENGINE.upgrade(empty_database, "0002")
    with psycopg.connect(empty_database, autocommit=True) as looking:
        with psycopg.connect(empty_database) as writer:
            writer.execute("lock table outbox.delivery in row exclusive mode")
            with migrating(empty_database, "0003") as deploy:
                ((building,),) = until_rows(looking, BUILDING)
                deploy.kill()
                deploy.wait()
            broken = looking.execute(INVALID).fetchall()
            if not server_goes_on:
                looking.execute("select pg_terminate_backend(%s)", [building])
                until_rows(looking, f"select 1 where not exists ({BUILDING})")
            with migrating(empty_database) as again:
                if server_goes_on:
                    until_rows(looking, WAITING)
                writer.rollback()
                assert again.wait(60) == 0

        assert broken == [(1,)]
        assert ENGINE.current(empty_database) == ENGINE.head()
        assert looking.execute(INVALID).fetchall() == [(0,)]
        assert looking.execute(INDEX).fetchall() == [(1,)]
