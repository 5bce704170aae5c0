"""What was the newest ever taken, per newest-only key.

Revision ID: 0013
"""

from __future__ import annotations

from outbox.migrations import execute_file

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    execute_file("0013_newest.up.sql")


def downgrade() -> None:
    """Forget it."""
    execute_file("0013_newest.down.sql")
