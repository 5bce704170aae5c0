"""SQL lives in files, one statement each; this loads them once, and asks for rows."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar, cast

from psycopg.rows import class_row

if TYPE_CHECKING:
    from psycopg import AsyncConnection

Row = TypeVar("Row")


def load(package: str, name: str, folder: str = "sql") -> LiteralString:
    """The text of `folder/name.sql` beside `package`, without its header comment.

    The text is ours and reviewed, never made from input: that is what `LiteralString` stands for.
    """
    text = (files(package) / folder / f"{name}.sql").read_text(encoding="utf-8")
    body = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    # mypy takes LiteralString for str; the other checker does not
    return cast("LiteralString", body)  # type: ignore[redundant-cast]


async def rows_of(
    conn: AsyncConnection[Any], kind: type[Row], statement: LiteralString
) -> list[Row]:
    """All that `statement`, which takes no parameters, tells, each row as a `kind`."""
    async with conn.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(statement)
        return await cursor.fetchall()
