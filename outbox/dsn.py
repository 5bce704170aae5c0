"""Addresses of a database, in the forms its drivers want; `postgres://` is `postgresql://`."""

from __future__ import annotations

from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from outbox.errors import ConfigurationError


def libpq_dsn(url: str) -> str:
    """`url` as psycopg takes it. Raises `ConfigurationError` when it is no PostgreSQL address."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.split("+")[0] not in {"postgres", "postgresql"}:
        msg = (
            "DATABASE_URL must be a PostgreSQL address like postgresql://user@host:5432/name"
            f" (its scheme is {scheme[:20]!r})"
            if separator
            else "DATABASE_URL must look like postgresql://user@host:5432/name"
        )
        raise ConfigurationError(msg)
    return f"postgresql://{rest}"


def sqlalchemy_url(url: str) -> str:
    """`url` for SQLAlchemy on psycopg 3, sync or async."""
    return "postgresql+psycopg://" + libpq_dsn(url).partition("://")[2]


def without_jit(dsn: str) -> str:
    """`dsn` whose sessions never compile statements, its other options kept.

    The engine's statements run in milliseconds and compiling one takes up to half a second, which a
    server does when a bloated table makes the plan look dear. Only for direct addresses: a
    transaction pooler refuses session options.
    """
    options = conninfo_to_dict(dsn).get("options") or ""
    return make_conninfo(dsn, options=f"{options} -c jit=off".strip())


def where(url: str) -> str:
    """Host, port and database of `url` for a message to people; never user or password."""
    try:
        parts = conninfo_to_dict(libpq_dsn(url))
    except Exception:  # noqa: BLE001 - an address that cannot be read must still not be shown
        return urlsplit(url).hostname or "the given address"
    host, port = parts.get("host") or "local socket", parts.get("port") or 5432
    return f"{host}:{port}/{parts.get('dbname') or ''}"
