"""A pause or return made by hand, or by a renewal, is published for those who follow up."""

from __future__ import annotations

from schema.migrations.script import execute_file

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Run the reviewed SQL."""
    execute_file("0009_tell_status_changes.up.sql")


def downgrade() -> None:
    """Run the reviewed way back."""
    execute_file("0009_tell_status_changes.down.sql")
