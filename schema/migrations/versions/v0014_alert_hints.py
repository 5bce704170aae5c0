"""An alert says what to mend first, and one tells that nobody answers."""

from __future__ import annotations

from schema.migrations.script import execute_file

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Run the reviewed SQL."""
    execute_file("0014_alert_hints.up.sql")


def downgrade() -> None:
    """Run the reviewed way back."""
    execute_file("0014_alert_hints.down.sql")
