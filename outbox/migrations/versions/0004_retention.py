"""How each table is filled and vacuumed, now that old rows are deleted from it.

Revision ID: 0004
"""

from __future__ import annotations

from outbox.migrations import execute_file

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Set fill and vacuum."""
    execute_file("0004_retention.up.sql")


def downgrade() -> None:
    """Leave both to the server again."""
    execute_file("0004_retention.down.sql")
