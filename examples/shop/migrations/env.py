"""Alembic's entry point for the shop's history."""

from __future__ import annotations

from alembic import context

from examples.shop.migrations import HISTORY
from outbox.migrations import run_environment

run_environment(
    context,
    version_table=HISTORY.version_table,
    version_table_schema=HISTORY.version_table_schema,
)
