"""How the application is cut: a core that only decides, time and the world given to it."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from tests.tidy.tree import ROOT, at, modules

if TYPE_CHECKING:
    from collections.abc import Iterator

_DECIDES = (
    "sagas/tiers.py",
    "sagas/eligibility.py",
    "sagas/recipients.py",
    "sagas/grouping.py",
    "sagas/policy.py",
    "sagas/results.py",
    "sagas/run.py",
    "sagas/verdicts.py",
    "sagas/visibility.py",
    "handlers/dispatch.py",
    "handlers/fcm/answers.py",
    "handlers/fcm/combine.py",
    "handlers/fcm/content.py",
    "handlers/portal/answers.py",
)
_ACTS = {"aiohttp", "asyncio", "httpx", "psycopg", "socket", "sqlalchemy", "structlog", "logging"}
_WALL_CLOCK = {"datetime.now", "datetime.utcnow", "date.today", "time.time", "time.monotonic"}
_EDGE = ("handlers/emulators", "sagas/app.py", "sagas/demo.py", "sagas/emulate.py")
"""Where the real clock is handed in, and what stands for the world in a demonstration."""
_ACTOR = re.compile(r"(Client|Transport|Provider|Pool|Relay|Handler|Application|App|Clock|Store)$")
_GOOGLE_IN = {"handlers/fcm/credentials.py"}


def _calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module


@pytest.mark.parametrize("name", _DECIDES)
def test_arc_1_what_decides_neither_waits_nor_reaches_out(name: str) -> None:
    """ARC-1: no I/O, no log and nothing asynchronous in the pure core."""
    ((path, tree),) = [found for found in modules("sagas", "handlers") if found[0] == ROOT / name]
    reached = [
        at(path, line, module)
        for line, module in _imports(tree)
        if module.partition(".")[0] in _ACTS
    ]
    waits = [
        at(path, node.lineno, node.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncFunctionDef)
    ]

    assert not reached + waits


def test_tier_7_nothing_looks_at_a_clock_of_its_own() -> None:
    """TIER-7: `now` comes from the one injected clock; only the edge knows the real one."""
    looked = [
        at(path, line, call)
        for path, tree in modules("sagas", "handlers")
        if not path.relative_to(ROOT).as_posix().startswith(_EDGE)
        for line, call in _calls(tree)
        if call in _WALL_CLOCK
    ]

    assert not looked


def test_arc_4_nothing_that_acts_is_made_at_import() -> None:
    """ARC-4: clients, transports and handlers are given to constructors, not found in a module."""
    made = [
        at(path, node.lineno, ast.unparse(node.value.func))
        for path, tree in modules("sagas", "handlers")
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and isinstance(node.value, ast.Call)
        and _ACTOR.search(ast.unparse(node.value.func))
    ]

    assert not made


def test_arc_6_push_goes_through_our_own_client_alone() -> None:
    """ARC-6: Google's library signs one assertion; nothing else of it, and no Firebase kit."""
    foreign = [
        at(path, line, module)
        for path, tree in modules("sagas", "handlers", "schema", "outbox")
        for line, module in _imports(tree)
        if re.match(r"firebase|pyfcm|googleapiclient|google\b", module)
        and path.relative_to(ROOT).as_posix() not in _GOOGLE_IN
    ]

    assert not foreign


def test_arc_3_the_sources_names_lead_to_what_does_their_work() -> None:
    """ARC-3: each component that the source documents name has its place here, and it exists."""
    rules = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    line = next(text for text in rules.splitlines() if text.startswith("- **ARC-3**"))
    named = line.partition("): ")[2].partition(". [")[0].split(", ")
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = {
        row[1]: re.findall(r"`([\w./]+)`", row[2])
        for row in re.finditer(r"^\| ([^|`]+?) \| ((?:`[\w./]+`(?:, )?)+) \|$", page, re.MULTILINE)
    }

    assert len(named) == 12
    assert set(named) <= set(rows)
    assert all(places and all((ROOT / at_).exists() for at_ in places) for places in rows.values())
