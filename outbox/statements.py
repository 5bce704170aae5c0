"""SQL lives in files, one statement each; this loads a package's folder of them once."""

from __future__ import annotations

from importlib.resources import files
from typing import LiteralString, cast


def load(package: str, name: str, folder: str = "sql") -> LiteralString:
    """The text of `folder/name.sql` beside `package`, without its header comment.

    The text is ours and reviewed, never made from input: that is what `LiteralString` stands for.
    """
    text = (files(package) / folder / f"{name}.sql").read_text(encoding="utf-8")
    body = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    # mypy takes LiteralString for str; the other checker does not
    return cast("LiteralString", body)  # type: ignore[redundant-cast]
