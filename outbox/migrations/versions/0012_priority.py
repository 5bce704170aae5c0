"""Indexes of what has a priority of its own.

Revision ID: 0012
"""

from __future__ import annotations

from outbox.migrations import execute_file

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build them."""
    execute_file("0012_priority.up.sql")


def downgrade() -> None:
    """Drop them; priorities stay stored."""
    execute_file("0012_priority.down.sql")
