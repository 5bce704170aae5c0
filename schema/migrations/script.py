"""How a revision runs its SQL file: whole, as reviewed, without parameters."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Final

from alembic import op

_FILES: Final = Path(__file__).parent / "sql"


def execute_file(name: str) -> None:
    """Run the file in the revision's transaction, or print it when SQL on paper is asked for."""
    script = (_FILES / name).read_text(encoding="utf-8")
    context = op.get_context()
    if context.as_sql:
        context.impl.static_output(script)
        return
    with closing(op.get_bind().connection.cursor()) as cursor:
        cursor.execute(script)  # without parameters the driver takes several statements at once
