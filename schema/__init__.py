"""The application's floor: its tables, migrations, roles, row-level security and triggers.

`schema.migrations` brings a database up and down, `schema.shim` prepares a plain server for it,
`schema.tables` describes the result to SQLAlchemy Core.
"""
