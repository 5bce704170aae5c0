"""Who is visible, who is paused, and the message that tells the portal."""

from __future__ import annotations

from schema.migrations.script import execute_file

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Run the reviewed SQL."""
    execute_file("0003_visibility.up.sql")


def downgrade() -> None:
    """Run the reviewed way back."""
    execute_file("0003_visibility.down.sql")
