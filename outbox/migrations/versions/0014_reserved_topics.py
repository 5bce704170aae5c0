"""The engine's topics are refused in SQL too.

Revision ID: 0014
"""

from __future__ import annotations

from outbox.migrations import execute_file

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Look at the topic first."""
    execute_file("0014_reserved_topics.up.sql")


def downgrade() -> None:
    """Look no more."""
    execute_file("0014_reserved_topics.down.sql")
