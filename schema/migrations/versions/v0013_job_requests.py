"""Let SQL ask for a run of a scheduled job."""

from __future__ import annotations

from schema.migrations.script import execute_file

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Run the reviewed SQL."""
    execute_file("0013_job_requests.up.sql")


def downgrade() -> None:
    """Run the reviewed way back."""
    execute_file("0013_job_requests.down.sql")
