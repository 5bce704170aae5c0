"""Follow-up rules, where they are enabled, and what was prompted."""

from __future__ import annotations

from schema.migrations.script import execute_file

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Run the reviewed SQL."""
    execute_file("0005_scenarios.up.sql")


def downgrade() -> None:
    """Run the reviewed way back."""
    execute_file("0005_scenarios.down.sql")
