"""The page on testing is a test suite: its files are written as they stand there, and run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Server

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
_FILE = re.compile(r"^```python (\w+\.py)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_TEST = re.compile(r"^(?:async )?def test_|^Test\w+ = ", re.MULTILINE)


def test_the_files_of_the_page_pass(server: Server, tmp_path: Path) -> None:
    """In a process of its own, with the plugin as a user has it."""
    text = PAGE.read_text(encoding="utf-8")
    files = dict(_FILE.findall(text))
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")

    # as few plugins as a user may have
    options = ["-q", "-p", "pytest_asyncio.plugin", "-p", "no:cacheprovider", "-W", "error"]
    options += ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
    plain = {"DATABASE_URL": server.dsn, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=tmp_path, env={**os.environ, **plain}, check=False, capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(_TEST.findall(text))} passed" in done.stdout
