"""Runs, locks, alerts, findings, reports, credential checks and the audit log."""

from __future__ import annotations

from schema.migrations.script import execute_file

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Run the reviewed SQL."""
    execute_file("0004_operations.up.sql")


def downgrade() -> None:
    """Run the reviewed way back."""
    execute_file("0004_operations.down.sql")
