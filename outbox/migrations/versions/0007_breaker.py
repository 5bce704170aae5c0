"""A circuit breaker per destination.

Revision ID: 0007
"""

from __future__ import annotations

from outbox.migrations import execute_file

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what a breaker remembers."""
    execute_file("0007_breaker.up.sql")


def downgrade() -> None:
    """Forget it."""
    execute_file("0007_breaker.down.sql")
