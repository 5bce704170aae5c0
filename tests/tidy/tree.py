"""The tree as the tidy tests read it: files, their syntax trees, and offences as lines of text."""

from __future__ import annotations

import ast
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGES = ("outbox", "schema", "handlers", "sagas")
_NOT_OURS = {"__pycache__", "node_modules", "build", "dist", "htmlcov", "mutants"}
_TEXT = {"", ".cfg", ".cjs", ".html", ".ini", ".js", ".json", ".mako", ".md", ".mjs", ".py", ".sh"}
_TEXT |= {".sql", ".svg", ".toml", ".txt", ".yml", ".yaml"}


@cache
def files() -> tuple[Path, ...]:
    """Every file of ours, whether committed yet or not; no caches and no environments."""
    return tuple(sorted(_walk()))


def _walk() -> Iterator[Path]:
    for folder, names, here in os.walk(ROOT):
        names[:] = [n for n in names if n not in _NOT_OURS and (n == ".ci" or n[0] != ".")]
        # in a worktree `.git` is a file that names a folder
        yield from (Path(folder, name) for name in here if not name.startswith((".env", ".git")))


def texts() -> Iterator[tuple[Path, str]]:
    """Every file that people write, with its text."""
    for path in files():
        if path.suffix in _TEXT and path.name != ".coverage":
            yield path, path.read_text(encoding="utf-8")


def modules(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    """Every Python module below the folders, parsed."""
    for path in files():
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders:
            yield path, parsed(path)


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of one module."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def statements() -> Iterator[tuple[Path, str]]:
    """Every SQL statement that a package executes, with its text; migrations are not among them."""
    for path in files():
        inside = path.relative_to(ROOT).parts
        of_a_package = inside[0] in PACKAGES and "sql" in inside and "migrations" not in inside
        if path.suffix == ".sql" and of_a_package:
            yield path, path.read_text(encoding="utf-8")


def at(path: Path, line: int, text: str) -> str:
    """One offence, as an editor can jump to it."""
    return f"{path.relative_to(ROOT)}:{line}: {text}"
