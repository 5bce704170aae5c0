"""A reason is a code: the database takes no sentence, which may quote what must not be stored.

Revision ID: 0016
"""

from __future__ import annotations

from outbox.migrations import execute_file

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Check what is written from now on."""
    execute_file("0016_reason_codes.up.sql")


def downgrade() -> None:
    """Take anything again."""
    execute_file("0016_reason_codes.down.sql")
