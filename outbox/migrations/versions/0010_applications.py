"""Which application a handler belongs to.

Revision ID: 0010
"""

from __future__ import annotations

from outbox.migrations import execute_file

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Give each handler an owner."""
    execute_file("0010_applications.up.sql")


def downgrade() -> None:
    """Forget the owners."""
    execute_file("0010_applications.down.sql")
