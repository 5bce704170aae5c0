"""Policies, flags, reminders, groups, the notification log and the inbox."""

from __future__ import annotations

from schema.migrations.script import execute_file

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Run the reviewed SQL."""
    execute_file("0002_notifications.up.sql")


def downgrade() -> None:
    """Run the reviewed way back."""
    execute_file("0002_notifications.down.sql")
