"""Relays that hand over to workers say so, and what keeps them from it.

Revision ID: 0015
"""

from __future__ import annotations

from outbox.migrations import execute_file

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let relays tell how they deliver."""
    execute_file("0015_handing_over.up.sql")


def downgrade() -> None:
    """Forget it."""
    execute_file("0015_handing_over.down.sql")
