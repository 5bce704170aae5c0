"""The lease of a key, written at less cost.

Revision ID: 0006
"""

from __future__ import annotations

from outbox.migrations import execute_file

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the table out of the WAL, and an index off it."""
    execute_file("0006_key_lease.up.sql")


def downgrade() -> None:
    """Put both back."""
    execute_file("0006_key_lease.down.sql")
