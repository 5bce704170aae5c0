"""The SQL of the vault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Collection

    from psycopg import Connection

_READ_SECRETS = load("handlers.vault", "read_secrets")


def read_secrets(conn: Connection[Any], names: Collection[str]) -> dict[str, SecretStr]:
    """Those of `names` that there are."""
    rows = conn.execute(_READ_SECRETS, {"names": list(names)}).fetchall()
    return {name: SecretStr(value) for name, value in rows}
