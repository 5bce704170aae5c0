"""Refuse what no run could follow of an organisation's reminder settings."""

from __future__ import annotations

from schema.migrations.script import execute_file

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Run the reviewed SQL."""
    execute_file("0008_policy_checks.up.sql")


def downgrade() -> None:
    """Run the reviewed way back."""
    execute_file("0008_policy_checks.down.sql")
