"""Parked instances, and people's acts in timelines.

Revision ID: 0008
"""

from __future__ import annotations

from outbox.migrations import execute_file

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column, and let a transition have no message."""
    execute_file("0008_sagas_for_people.up.sql")


def downgrade() -> None:
    """Take them back."""
    execute_file("0008_sagas_for_people.down.sql")
