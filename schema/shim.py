"""What the platform provides and a plain PostgreSQL lacks: roles, `auth.uid()` and its like, vault."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import psycopg

_SCRIPT: Final = Path(__file__).parent / "supabase_shim.sql"
# Two databases of one cluster create the same roles; within one database they take turns.
_LOCK: Final = "select pg_advisory_xact_lock(hashtextextended('schema.shim', 0))"


def apply(dsn: str) -> None:
    """Create what is missing at `dsn`, in one transaction. Does nothing on the platform itself."""
    script = _SCRIPT.read_text(encoding="utf-8")
    with psycopg.connect(dsn) as conn:
        conn.execute(_LOCK)
        conn.execute(script.encode())


def needed(dsn: str) -> bool:
    """Whether the database at `dsn` lacks the roles or the functions that the migrations name."""
    with psycopg.connect(dsn) as conn:
        row = conn.execute(
            "select to_regprocedure('auth.uid()') is null or to_regrole('service_role') is null"
        ).fetchone()
    return row is None or bool(row[0])
