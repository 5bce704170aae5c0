"""Failure groups of dead letters, redrives, an audit of people's acts, questions about unknowns.

Revision ID: 0002
"""

from __future__ import annotations

from outbox.migrations import execute_file

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables and give each dead letter its group."""
    execute_file("0002_letters.up.sql")


def downgrade() -> None:
    """Drop them again; the audit goes with them."""
    execute_file("0002_letters.down.sql")
