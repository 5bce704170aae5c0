"""An index over what is held as unknown, built without keeping anybody waiting.

Revision ID: 0003
"""

from __future__ import annotations

from alembic import op

from outbox.migrations import execute_file

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build it outside a transaction."""
    with op.get_context().autocommit_block():
        execute_file("0003_unknown_index.up.sql")


def downgrade() -> None:
    """Drop it the same way."""
    with op.get_context().autocommit_block():
        execute_file("0003_unknown_index.down.sql")
