"""Messages without terms are published in bulk by a shorter way.

Revision ID: 0019
"""

from __future__ import annotations

from outbox.migrations import execute_file

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The shorter way beside the other."""
    execute_file("0019_plain_publish.up.sql")


def downgrade() -> None:
    """One way for all."""
    execute_file("0019_plain_publish.down.sql")
