"""Addresses of a database: the forms that are taken, refused and shown."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from outbox.dsn import libpq_dsn, relay_options, sqlalchemy_url, where
from outbox.errors import ConfigurationError


def test_both_schemes_are_the_same() -> None:
    assert libpq_dsn("postgres://a@h/d") == libpq_dsn("postgresql://a@h/d") == "postgresql://a@h/d"
    assert sqlalchemy_url("postgres://a@h/d") == "postgresql+psycopg://a@h/d"


@pytest.mark.parametrize("url", ["mysql://a@h/d", "h:5432", ""])
def test_what_is_no_postgresql_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="postgresql://user@host"):
        libpq_dsn(url)


def test_a_shown_address_has_no_password() -> None:
    shown = where("postgresql://somebody:hush@db.example:6543/shop")
    assert shown == "db.example:6543/shop"


def test_a_relays_session_compiles_nothing_and_keeps_its_other_options(empty_database: str) -> None:
    """Compiling costs a short statement hundreds of times its run."""
    named = empty_database + ("&" if "?" in empty_database else "?") + "options=-c%20work_mem%3D7MB"
    options = relay_options(named, timedelta(seconds=30))
    with psycopg.connect(named, options=options) as conn:
        jit = conn.execute("show jit").fetchone()
        work_mem = conn.execute("show work_mem").fetchone()
    assert (jit, work_mem) == (("off",), ("7MB",))


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_relays_statement_sees_what_was_committed_before_it(
    empty_database: str, level: str
) -> None:
    """Whatever the database's default is; else it looked at a key as it was before its lease."""
    with psycopg.connect(empty_database, autocommit=True) as conn:
        name = conn.info.dbname
        conn.execute(
            f"alter database {name} set default_transaction_isolation = '{level}'".encode()
        )
    options = relay_options(empty_database, timedelta(seconds=30))
    with (
        psycopg.connect(empty_database) as plain,
        psycopg.connect(empty_database, options=options) as relay,
    ):
        usual = plain.execute("show transaction_isolation").fetchone()
        ours = relay.execute("show transaction_isolation").fetchone()
    assert (usual, ours) == ((level,), ("read committed",))
