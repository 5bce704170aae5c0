"""Where the emergency switch cannot show anything, the database says so."""

from __future__ import annotations

from schema.migrations.script import execute_file

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Run the reviewed SQL."""
    execute_file("0016_switch_says_so.up.sql")


def downgrade() -> None:
    """Run the reviewed way back."""
    execute_file("0016_switch_says_so.down.sql")
