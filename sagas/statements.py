"""The statements of this package: one file each, read once, executed only by its queries."""

from __future__ import annotations

from functools import cache
from typing import LiteralString

from outbox.statements import load


@cache
def statement(name: str) -> LiteralString:
    """The text of `sql/<name>.sql`."""
    return load("sagas", name)
