"""The shop's schema history; `outbox migrate` runs it after the engine's own."""

from __future__ import annotations

from pathlib import Path

from examples.shop.tables import SCHEMA
from outbox.migrations import History

HISTORY = History(Path(__file__).parent, version_table="revision", version_table_schema=SCHEMA)
