"""Tickets: leases on their way to a worker through a broker.

Revision ID: 0005
"""

from __future__ import annotations

from outbox.migrations import execute_file

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the queue of a ticket and the table of workers."""
    execute_file("0005_tickets.up.sql")


def downgrade() -> None:
    """Make what is under a ticket due again, and drop both."""
    execute_file("0005_tickets.down.sql")
