"""In how many runs a prompt was tried, and whose contact an activity is."""

from __future__ import annotations

from schema.migrations.script import execute_file

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Run the reviewed SQL."""
    execute_file("0012_prompt_runs.up.sql")


def downgrade() -> None:
    """Run the reviewed way back."""
    execute_file("0012_prompt_runs.down.sql")
