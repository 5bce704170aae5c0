"""Alembic's entry point for the engine's own history."""

from __future__ import annotations

from alembic import context

from outbox.migrations import run_environment

run_environment(context, version_table="revision", version_table_schema="outbox")
