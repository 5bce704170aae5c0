"""Alembic's entry point: the caller's connection, or SQL on paper when there is none."""

from __future__ import annotations

from alembic import context

from schema.migrations import VERSION_SCHEMA, VERSION_TABLE

connection = context.config.attributes.get("connection")
if connection is None:
    context.configure(
        dialect_name="postgresql",
        literal_binds=True,
        version_table=VERSION_TABLE,
        version_table_schema=VERSION_SCHEMA,
    )
else:
    context.configure(
        connection=connection, version_table=VERSION_TABLE, version_table_schema=VERSION_SCHEMA
    )
with context.begin_transaction():
    if connection is None:
        context.execute(f"create schema if not exists {VERSION_SCHEMA}")
    context.run_migrations()
