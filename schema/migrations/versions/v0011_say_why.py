"""A change of visibility says why, and a certificate that lapses asks for the sweep."""

from __future__ import annotations

from schema.migrations.script import execute_file

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Run the reviewed SQL."""
    execute_file("0011_say_why.up.sql")


def downgrade() -> None:
    """Run the reviewed way back."""
    execute_file("0011_say_why.down.sql")
