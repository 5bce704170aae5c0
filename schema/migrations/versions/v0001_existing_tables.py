"""The app's own tables where they are absent, and the columns the rules need."""

from __future__ import annotations

from schema.migrations.script import execute_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Run the reviewed SQL."""
    execute_file("0001_existing_tables.up.sql")


def downgrade() -> None:
    """Run the reviewed way back."""
    execute_file("0001_existing_tables.down.sql")
