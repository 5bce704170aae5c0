"""What is waited for keeps its message by a check of each delete, not of each publish.

Revision ID: 0018
"""

from __future__ import annotations

from outbox.migrations import execute_file

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The trigger for the key."""
    execute_file("0018_message_guard.up.sql")


def downgrade() -> None:
    """The key for the trigger."""
    execute_file("0018_message_guard.down.sql")
