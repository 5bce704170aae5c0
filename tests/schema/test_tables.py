"""What SQLAlchemy believes of the tables is what the migrations made."""

from __future__ import annotations

import psycopg
from sqlalchemy import Table, create_engine, inspect

from schema.tables import metadata


def test_the_model_agrees_with_the_migrated_database(database: str) -> None:
    """Names, types, nullability, defaults and keys; no table or column more on either side."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database))
    try:
        found = inspect(engine)
        tables = {table.name: table for table in metadata.tables.values()}
        assert set(found.get_table_names("public")) == set(tables)
        for name, table in tables.items():
            columns = {column["name"]: column for column in found.get_columns(name, "public")}
            assert described(table) == {
                key: (
                    column["type"].compile(engine.dialect),
                    column["nullable"],
                    column["default"] is not None or "identity" in column,
                )
                for key, column in columns.items()
            }, name
            primary_key = found.get_pk_constraint(name, "public")["constrained_columns"]
            assert primary_key == [column.name for column in table.primary_key.columns], name
    finally:
        engine.dispose()


def described(table: Table) -> dict[str, tuple[str, bool | None, bool]]:
    """Type, nullability and whether the server fills it in, per column."""
    dialect = create_engine("postgresql+psycopg://").dialect
    return {
        column.name: (
            column.type.compile(dialect),
            column.nullable,
            column.server_default is not None or column.identity is not None,
        )
        for column in table.columns
    }
