"""What people with a role may read, their devices, and the audit of the emergency switch."""

from __future__ import annotations

from schema.migrations.script import execute_file

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Run the reviewed SQL."""
    execute_file("0010_people.up.sql")


def downgrade() -> None:
    """Run the reviewed way back."""
    execute_file("0010_people.down.sql")
