"""What there is to see: a relay's version and clock, and who paused and resumed.

Revision ID: 0011
"""

from __future__ import annotations

from outbox.migrations import execute_file

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let relays tell more of themselves, and pauses be audited."""
    execute_file("0011_relay_facts.up.sql")
    execute_file("0011_pauses.up.sql")


def downgrade() -> None:
    """Forget it; acts that were audited stay."""
    execute_file("0011_pauses.down.sql")
    execute_file("0011_relay_facts.down.sql")
