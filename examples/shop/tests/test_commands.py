"""The shop in its own processes: the engine's commands unchanged, and its own beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, pool

from examples.shop.migrations import HISTORY
from examples.shop.tables import SCHEMA, metadata
from outbox.dsn import sqlalchemy_url

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]


@contextmanager
def mail_receiver() -> Iterator[tuple[str, list[bytes]]]:
    """A real one on loopback: its address, and what it was asked for."""
    asked: list[bytes] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/mails", asked
        server.shutdown()


def outbox_of_the_shop(dsn: str, *args: str, mail_url: str = "http://127.0.0.1:9/") -> str:
    """Run one command; what it says on stdout."""
    env = {**os.environ, "DATABASE_URL": dsn, "SHOP_MAIL_URL": mail_url}
    command = [sys.executable, "-m", "outbox", "--app", "examples.shop.app:app", *args]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_shop_is_run_by_the_engines_commands(empty_database: str) -> None:
    with mail_receiver() as (url, asked):
        outbox_of_the_shop(empty_database, "migrate")
        outbox_of_the_shop(empty_database, "shop", "stock", "teapot", "3")
        outbox_of_the_shop(empty_database, "shop", "place", "teapot", "customer@example.org")
        outbox_of_the_shop(empty_database, "relay", "--drain", mail_url=url)

        (order,) = json.loads(outbox_of_the_shop(empty_database, "shop", "orders", "--json"))
        found = json.loads(outbox_of_the_shop(empty_database, "status", "--json"))

    assert order == {"id": 1, "item": "teapot", "count": 1, "status": "confirmed", "mail": "done"}
    assert {row["handler"]: row["done"] for row in found["handlers"]} == {"mail": 1, "stock": 1}
    assert len(asked) == 1


def test_settings_are_told_by_the_names_they_have_in_the_environment(empty_database: str) -> None:
    """The shop's have a prefix; who reads `MAIL_URL` would set what nobody reads."""
    told = outbox_of_the_shop(empty_database, "config", mail_url="http://mail.example/")

    with pytest.raises(AssertionError, match="settings cannot be read: SHOP_MAIL_URL: "):
        outbox_of_the_shop(empty_database, "config", mail_url="nowhere")
    assert "SHOP_MAIL_URL = http://mail.example/\n" in told
    assert "SHOP_MAIL_TOKEN = empty\n" in told


def test_the_tables_are_what_the_migrations_make(empty_database: str) -> None:
    HISTORY.upgrade(empty_database)
    engine = create_engine(sqlalchemy_url(empty_database), poolclass=pool.NullPool)
    options = {
        "include_schemas": True,
        "include_name": lambda name, kind, _: kind != "schema" or name == SCHEMA,
        "version_table": HISTORY.version_table,
        "version_table_schema": HISTORY.version_table_schema,
    }
    with engine.connect() as conn:
        context = MigrationContext.configure(conn, opts=options)
        assert compare_metadata(context, metadata) == []


def test_the_way_down_leaves_nothing_of_the_shop(empty_database: str) -> None:
    HISTORY.upgrade(empty_database)
    HISTORY.downgrade(empty_database, "base")

    with psycopg.connect(empty_database) as conn:
        left = conn.execute("select tablename from pg_tables where schemaname = 'shop'").fetchall()
    assert left == [("revision",)]
