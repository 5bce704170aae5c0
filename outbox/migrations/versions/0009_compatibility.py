"""Which code may run on this schema.

Revision ID: 0009
"""

from __future__ import annotations

from outbox.migrations import execute_file

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the engine's own row."""
    execute_file("0009_compatibility.up.sql")


def downgrade() -> None:
    """Drop it."""
    execute_file("0009_compatibility.down.sql")
