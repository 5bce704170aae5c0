"""The program of the page on sagas runs, in memory and on a database, and its chapter is short."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from outbox.testing import Lab

PAGE = Path(__file__).parents[2] / "docs" / "sagas.md"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CHAPTER_LINES_MAX = 40


@pytest.fixture(scope="module")
def program() -> dict[str, Any]:
    """Every block of the page, in order, in one namespace."""
    named: dict[str, Any] = {"__name__": "sagas_page"}
    for block in _BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        exec(compile(block, "docs/sagas.md", "exec"), named)  # noqa: S102 - our own page
    return named


@pytest.mark.parametrize(
    ("app", "test"),
    [
        ("app", "an_order_is_shipped_once_it_is_paid"),
        ("trips", "a_card_that_is_refused_gives_the_seat_back"),
    ],
)
async def test_the_tests_of_the_page_pass_in_both_labs(
    app: str, test: str, program: dict[str, Any], database: str
) -> None:
    made = program[app]() if app == "trips" else program[app]
    async with Lab.memory(made) as memory:
        await program[test](memory)
    async with Lab.postgres(made, database) as postgres:
        await program[test](postgres)


def test_the_machine_of_the_page_runs(program: dict[str, Any]) -> None:
    short = settings(max_examples=10, stateful_step_count=15, deadline=None, database=None)
    run_state_machine_as_test(program["Machine"], settings=short)


def test_a_newcomer_needs_no_more_than_forty_lines() -> None:
    chapter = PAGE.read_text(encoding="utf-8").partition("## What the declaration")[0]
    lines = [line for block in _BLOCK.findall(chapter) for line in block.splitlines()]

    assert len([line for line in lines if line.strip()]) <= CHAPTER_LINES_MAX
