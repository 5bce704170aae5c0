"""The engine's schema, made from nothing.

Revision ID: 0001
"""

from __future__ import annotations

from outbox.migrations import execute_file

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables and functions."""
    execute_file("0001_engine.up.sql")
    execute_file("0001_publish.up.sql")


def downgrade() -> None:
    """Drop them again; the schema itself stays, since the version table lives in it."""
    execute_file("0001_publish.down.sql")
    execute_file("0001_engine.down.sql")
