"""Where it is measured: fresh databases on one server, and the facts of server and machine."""

from __future__ import annotations

import os
import platform
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

import schema.migrations
from outbox import migrations
from outbox.embedded import EmbeddedServer, database_url_or_embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = (
    "server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method",
    "shared_buffers", "max_wal_size", "max_connections", "autovacuum",
)  # fmt: skip
EMBEDDED_SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB", "max_connections": "200"}
"""What a server that is measured should have, and one for a demo need not."""
PACKAGES = ("psycopg", "pydantic", "SQLAlchemy", "httpx", "aiohttp", "structlog")


@contextmanager
def server(url: str | None) -> Iterator[str]:
    """The server to measure on: the one at `url`, else an embedded one that syncs every commit."""
    if url:
        with database_url_or_embedded(url) as dsn:
            yield dsn
        return
    with EmbeddedServer.start(settings=EMBEDDED_SETTINGS) as embedded:
        yield embedded.dsn()


@dataclass(frozen=True, slots=True)
class Ground:
    """A server on which databases can be made. `embedded` says whose it is."""

    dsn: str
    embedded: bool

    @contextmanager
    def fresh(self, *, application: bool = False) -> Iterator[str]:
        """The DSN of a new database with the engine's tables, the application's too if asked."""
        with self.empty() as dsn:
            migrations.upgrade(dsn)
            if application:
                schema.migrations.upgrade(dsn)
            self._execute(sql.SQL("checkpoint"))
            yield dsn

    @contextmanager
    def empty(self) -> Iterator[str]:
        """The DSN of a new, empty database, dropped at the end."""
        name = f"outbox_bench_{token_hex(4)}"
        self._execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        try:
            yield urlunsplit(urlsplit(self.dsn)._replace(path=f"/{name}"))
        finally:
            dropped = sql.SQL("drop database {} with (force)").format(sql.Identifier(name))
            self._execute(dropped)

    def facts(self) -> dict[str, Any]:
        """Machine, versions and settings, without anything that names its owner."""
        with psycopg.connect(self.dsn) as conn:
            shown = {
                name: conn.execute("select current_setting(%s)", [name]).fetchone()
                for name in SETTINGS
            }
        return {
            "machine": {
                "system": platform.system(),
                "architecture": platform.machine(),
                "processor": _processor(),
                "cores": os.cpu_count(),
                "memory_gib": _memory_gib(),
                "load_before": round(os.getloadavg()[0], 2),
            },
            "versions": {
                "python": platform.python_version(),
                **{name.lower(): version(name) for name in PACKAGES},
            },
            "server": {
                "embedded": self.embedded,
                **{name: row[0] if row else None for name, row in shown.items()},
            },
        }

    def _execute(self, statement: sql.SQL | sql.Composed) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            conn.execute(statement)


def statement(name: str) -> bytes:
    """The text of `bench/sql/<name>.sql`."""
    return (Path(__file__).parent / "sql" / f"{name}.sql").read_bytes()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (OSError, ValueError):
        return None
