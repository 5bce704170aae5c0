"""Visibility is announced in the order of message ids, like everything else a saga hears."""

from __future__ import annotations

from schema.migrations.script import execute_file

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Run the reviewed SQL."""
    execute_file("0007_announce_in_order.up.sql")


def downgrade() -> None:
    """Run the reviewed way back."""
    execute_file("0007_announce_in_order.down.sql")
