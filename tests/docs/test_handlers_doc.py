"""The code that the pages show works as it stands there, and the tests they name exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAMED = re.compile(r"`([\w/]+\.py)(?:::(\w+))?`")


async def test_the_program_of_the_page_on_handlers_runs(database: str) -> None:
    """Every block, in order, in one namespace; then the test that the page itself shows."""
    text = (ROOT / "docs" / "handlers.md").read_text(encoding="utf-8")
    blocks = _BLOCK.findall(text)
    program: dict[str, Any] = {"__name__": "handlers_page"}
    for block in blocks:
        exec(compile(block, "docs/handlers.md", "exec"), program)  # noqa: S102 - our own page

    await program["a_busy_mailer_is_asked_again"](database)

    assert len(blocks) == 3


def test_every_test_that_guards_a_promise_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.partition("## Promises")[2]
    named = _NAMED.findall(table)

    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (ROOT / "tests" / file).is_file()
        or (test and f"def {test}(" not in (ROOT / "tests" / file).read_text(encoding="utf-8"))
    ]

    assert len(named) > 12
    assert not missing


@pytest.mark.parametrize(
    "page", ["README.md", "ARCHITECTURE.md", "DECISIONS.md", "CHANGELOG.md", "docs/handlers.md",
             "docs/migrations.md", "docs/operations.md", "docs/sagas.md", "docs/testing.md"]
)  # fmt: skip
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8"))

    broken = [link for link in links if "://" not in link and not (path.parent / link).exists()]

    assert not broken
