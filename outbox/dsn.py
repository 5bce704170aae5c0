"""Addresses of a database, in the forms its drivers want; `postgres://` is `postgresql://`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from outbox.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta


FORM = "postgresql://user@host:5432/name"

_SCHEMES = ("postgres", "postgresql")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_WHOLE_NUMBERS = (
    "connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
    "tcp_user_timeout",
)  # fmt: skip
_PORT_MAX = 65535


def libpq_dsn(url: str, *, setting: str = "DATABASE_URL") -> str:
    """`url` as psycopg takes it; what it wants of a driver (`postgresql+psycopg://`) is left out.

    Raises `ConfigurationError`, naming `setting`, when it is no PostgreSQL address or a part of it
    cannot be read. No value of the address is quoted: any may hold a piece of a password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ConfigurationError(f"{setting} must look like {FORM}")
    if scheme.split("+")[0] not in _SCHEMES:
        raise ConfigurationError(
            f"{setting} must be a PostgreSQL address like {FORM} (its scheme is {scheme[:20]!r})"
        )
    dsn = f"postgresql://{rest}"
    try:
        problem = _problem(conninfo_to_dict(dsn))
    except ProgrammingError as error:
        problem = _unreadable(dsn, str(error))
    if problem:
        raise ConfigurationError(f"{setting} cannot be read: {problem}; it must look like {FORM}")
    return dsn


def _problem(parts: Mapping[str, object]) -> str | None:
    """What the server's library would refuse of an address only when it connects."""
    for port in str(parts.get("port") or "").split(","):
        if port and not (port.isascii() and port.isdigit() and 1 <= int(port) <= _PORT_MAX):
            return (
                f"its port is no number from 1 to {_PORT_MAX} (in a password, write / as %2F, "
                "@ as %40, : as %3A)"
            )
    for name in _WHOLE_NUMBERS:
        if not re.fullmatch(r"-?[0-9]+", str(parts.get(name, 0))):
            return f"its parameter {name} is no whole number"
    if str(parts.get("sslmode", _SSL_MODES[0])) not in _SSL_MODES:
        return f"its parameter sslmode is none of {', '.join(_SSL_MODES)}"
    return None


def _unreadable(dsn: str, told: str) -> str:
    """The same for what the library cannot take apart. `told` is its text, which quotes values."""
    if "percent-encoded" in told:
        return "a % in it is not followed by two hexadecimal digits; write % itself as %25"
    if "query parameter" not in told:
        return "it cannot be taken apart (in a password, write / as %2F, @ as %40, : as %3A)"
    query = dsn.partition("?")[2]
    named = re.search(r'parameter: "([a-z_]{1,40})"', told)
    # behind an @ it could be the rest of a password with an unwritten /
    name = f" {named[1]!r}" if named and "@" not in query else ""
    return (
        f"it has a parameter{name} that PostgreSQL does not know "
        "(there are sslmode, connect_timeout, options, application_name and others of libpq)"
    )


def sqlalchemy_url(url: str) -> str:
    """`url` for SQLAlchemy on psycopg 3, sync or async."""
    return "postgresql+psycopg://" + libpq_dsn(url).partition("://")[2]


def relay_options(dsn: str, idle_max: timedelta) -> str:
    """`options` for sessions that keep time in UTC, compile nothing and walk an index.

    Each statement sees what was committed before it, whatever the database's default is: a claim
    asks with its second statement what the first could not have seen (P5).

    A transaction idle for `idle_max`, the longest lease, is ended by the server: a relay that
    stalls, or is cut off unnoticed, would keep what it has locked for as long as that lasts.

    What `dsn` gives itself is kept. The engine's statements run in milliseconds and compiling one
    takes up to half a second, which a server does when a bloated table makes the plan look dear.
    Tables that were empty when a statement was planned are read whole until they are analysed
    again, however fast they grow: each statement has its index, so none is planned without. A
    bitmap knows no order: a claim that took one would read and sort all that waits for the few it
    leases. What it claims was written lately and is in memory, so that a page costs no more here
    or there; else a claim reads all messages to join its own. Only for direct addresses: a
    transaction pooler refuses session options.
    """
    given = conninfo_to_dict(dsn).get("options") or ""
    idle_ms = int(idle_max.total_seconds() * 1000)
    ours = (
        "-c jit=off -c timezone=UTC -c enable_seqscan=off -c enable_bitmapscan=off"
        " -c random_page_cost=1.1 -c default_transaction_isolation=read\\ committed"
    )
    ours += f" -c idle_in_transaction_session_timeout={idle_ms}"
    return f"{given} {ours}".strip()


def for_relay(dsn: str, idle_max: timedelta) -> str:
    """`dsn` with `relay_options`."""
    return make_conninfo(dsn, options=relay_options(dsn, idle_max))


def where(url: str) -> str:
    """Host, port and database of `url` for a message to people; never user or password."""
    try:
        parts = conninfo_to_dict(libpq_dsn(url))
    except Exception:  # noqa: BLE001 - an address that cannot be read must still not be shown
        return urlsplit(url).hostname or "the given address"
    host, port = parts.get("host") or "local socket", parts.get("port") or 5432
    return f"{host}:{port}/{parts.get('dbname') or ''}"
