"""Grants, row-level security and the guard of the status row."""

from __future__ import annotations

from schema.migrations.script import execute_file

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Run the reviewed SQL."""
    execute_file("0006_access.up.sql")


def downgrade() -> None:
    """Run the reviewed way back."""
    execute_file("0006_access.down.sql")
