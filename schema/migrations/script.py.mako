"""${message}."""

from __future__ import annotations

from schema.migrations.script import execute_file

revision = "${up_revision}"
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Run the reviewed SQL."""
    execute_file("${up_revision}_NAME.up.sql")


def downgrade() -> None:
    """Run the reviewed way back."""
    execute_file("${up_revision}_NAME.down.sql")
