"""One statement, one file, its index in the header; none unused, and none hidden in Python."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from tests.tidy.tree import PACKAGES, ROOT, at, modules, statements

if TYPE_CHECKING:
    from collections.abc import Iterator

_STATEMENT = re.compile(
    r"^\s*(select\s.+\sfrom\s|insert\s+into\s|update\s+[\w.\"]+\s+(as\s+\w+\s+)?set\s|"
    r"delete\s+from\s|with\s+\w+\s+as\s+(materialized\s+)?\(|merge\s+into\s|lock\s+table\s|"
    r"(create|alter|drop)\s+(table|index|schema|function|role|type|view)\s)",
    re.IGNORECASE | re.DOTALL,
)
_SHOUTED = re.compile(
    r"\b(SELECT|INSERT|UPDATE|DELETE|FROM|WHERE|JOIN|VALUES|RETURNING|ORDER|GROUP|LIMIT|NULL|"
    r"AND|OR|NOT|WITH|ON|SET|CASE|WHEN|THEN|ELSE|END|AS)\b"
)
_LITERAL = re.compile(r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$", re.DOTALL)


def _comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.lstrip().startswith("--")]


def _code(text: str) -> str:
    """The statement without comments and without the contents of its literals."""
    bare = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return _LITERAL.sub("''", bare)


def test_each_statement_opens_with_its_name_and_purpose() -> None:
    nameless = [
        at(path, 1, text.partition("\n")[0])
        for path, text in statements()
        if not re.match(rf"-- {re.escape(path.stem)}: \S", text)
    ]

    assert not nameless


def test_each_statement_names_its_index_and_its_reason() -> None:
    """A plan test holds the `index:` line to what EXPLAIN says."""
    silent = [
        at(path, 1, f"no `{word}` line")
        for path, text in statements()
        for word in ("index:", "why:")
        if not any(line.startswith(f"-- {word} ") for line in _comments(text))
    ]

    assert not silent


def test_a_file_holds_one_statement_in_lower_case() -> None:
    several = [
        at(path, 1, "more than one statement")
        for path, text in statements()
        if ";" in _code(text).rstrip().rstrip(";")
    ]
    shouted = [
        at(path, 1, found[0])
        for path, text in statements()
        if (found := _SHOUTED.search(_code(text)))
    ]

    assert not several + shouted


def test_no_comment_holds_a_percent_sign() -> None:
    """The driver would read it as a parameter."""
    found = [
        at(path, 1, line) for path, text in statements() for line in _comments(text) if "%" in line
    ]

    assert not found


def test_no_statement_is_unused() -> None:
    """Each is named by a string of its own package."""
    named: dict[str, set[str]] = {package: set() for package in PACKAGES}
    for path, tree in modules(*PACKAGES):
        named[path.relative_to(ROOT).parts[0]].update(
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )
    unused = [
        at(path, 1, "unused")
        for path, _ in statements()
        if path.stem not in named[path.relative_to(ROOT).parts[0]]
    ]

    assert not unused


def test_no_sql_is_written_in_python() -> None:
    """But in migrations, and in `queries` where a statement is put together from parts."""
    hidden = [
        at(path, line, text.strip().partition("\n")[0])
        for path, tree in modules(*PACKAGES)
        if not path.stem.startswith("queries") and "migrations" not in path.parts
        for line, text in _strings(tree)
        if _STATEMENT.match(text)
    ]

    assert not hidden


def _strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every string but the docstrings."""
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documents
        ):
            yield node.lineno, node.value
