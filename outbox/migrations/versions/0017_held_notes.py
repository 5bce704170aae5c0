"""Notes of held batches are found by the deliveries they name, not by their time.

Revision ID: 0017
"""

from __future__ import annotations

from outbox.migrations import execute_file

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    execute_file("0017_held_notes.up.sql")


def downgrade() -> None:
    """Drop it."""
    execute_file("0017_held_notes.down.sql")
