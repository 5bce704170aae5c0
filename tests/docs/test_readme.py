"""What the README shows a newcomer works as it stands there, line by line."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(?:python|sh) (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SCRIPTS = Path(sys.executable).parent


def blocks() -> dict[str, str]:
    """The named blocks of the page."""
    return dict(_BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8")))


def said(script: str, dsn: str, folder: Path) -> str:
    """Run each line of a block as it stands; all that was said on stdout."""
    env = {
        **os.environ,
        "DATABASE_URL": dsn,
        "PATH": f"{_SCRIPTS}{os.pathsep}{os.environ['PATH']}",
        "SHOP_MAIL_URL": "http://127.0.0.1:9/",
    }
    told = []
    for line in blocks()[script].splitlines():
        command = shlex.split(line, comments=True)
        ran = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, (line, ran.stderr)
        told.append(ran.stdout)
    return "".join(told)


def test_the_first_program_says_hello(empty_database: str, tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(blocks()["hello.py"], encoding="utf-8")

    told = said("hello.sh", empty_database, tmp_path)

    assert "hello, world\n" in told
    assert re.search(r"greeter .* 1 .*open", told)


def test_the_examples_do_what_the_page_says_beside_each_other(empty_database: str) -> None:
    """Both on one database, as a newcomer would run them."""
    shop = said("shop.sh", empty_database, ROOT)
    trip = said("trip.sh", empty_database, ROOT)

    assert re.search(r"teapot .* confirmed .* retry", shop)
    assert "trip 2 is ordered" in trip
    assert {"flight.cancel", "room.cancel"} <= set(re.findall(r"says (\S+)", trip))
