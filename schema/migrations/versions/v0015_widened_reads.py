"""Whom the emergency switch showed to whom is on record."""

from __future__ import annotations

from schema.migrations.script import execute_file

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Run the reviewed SQL."""
    execute_file("0015_widened_reads.up.sql")


def downgrade() -> None:
    """Run the reviewed way back."""
    execute_file("0015_widened_reads.down.sql")
