"""What the platform provides and a plain PostgreSQL lacks: roles, `auth.uid()`, the vault."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import psycopg

_SCRIPT: Final = Path(__file__).parent / "supabase_shim.sql"
_NEEDED: Final = (Path(__file__).parent / "sql" / "shim_needed").with_suffix(".sql")
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
    question = _NEEDED.read_text(encoding="utf-8")
    with psycopg.connect(dsn) as conn:
        row = conn.execute(question.encode()).fetchone()
    return row is None or bool(row[0])
