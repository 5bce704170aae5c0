"""Columns of values for statements that take their rows as arrays.

psycopg's dumper looks at every element of a list by itself, with a regular expression for each; a
night has a million of them. The statements name each array's type, so a literal says as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date
    from uuid import UUID


def uuids(values: Iterable[UUID]) -> str:
    """The literal of a `uuid[]`; none of `values` is null."""
    return "{" + ",".join([value.hex for value in values]) + "}"


def numbers(values: Iterable[int | None]) -> str:
    """The literal of an `integer[]`."""
    return "{" + ",".join(["null" if value is None else str(value) for value in values]) + "}"


def dates(values: Iterable[date]) -> str:
    """The literal of a `date[]`; none of `values` is null."""
    return "{" + ",".join([value.isoformat() for value in values]) + "}"


def texts(values: Iterable[str]) -> str:
    """The literal of a `text[]`; none of `values` is null."""
    return "{" + ",".join([_quoted(value) for value in values]) + "}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
