"""Addresses, settings and applications given wrongly: exit code 2 or 1, and one sentence."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import pytest
from psycopg import OperationalError

from outbox.readiness import reason_of_refusal
from tests.end_to_end.cli import SCRIPT, Terminal

if TYPE_CHECKING:
    from pathlib import Path

BARE = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
THERE = "postgresql://me:hunter2@127.0.0.1:1/shop"

SETTINGS: list[tuple[dict[str, str], int, str]] = [
    ({"DATABASE_URL": "mysql://me:hunter2@h/d"}, 2, "its scheme is 'mysql'"),
    ({"DATABASE_URL": "me:hunter2@h/d"}, 2, "must look like postgresql://user@host:5432/name"),
    ({"DATABASE_URL": "postgresql://me:hunter2@h:54x/d"}, 2, "its port is no number from 1"),
    ({"DATABASE_URL": "postgresql://me:hunter2@h:70000/d"}, 2, "its port is no number from 1"),
    ({"DATABASE_URL": "postgresql://me:x/hunter2@h/d"}, 2, "in a password, write / as %2F"),
    ({"DATABASE_URL": "postgresql://me:hunter2%@h/d"}, 2, "write % itself as %25"),
    ({"DATABASE_URL": f"{THERE}?sslmod=require"}, 2, "has a parameter 'sslmod' that Postgre"),
    ({"DATABASE_URL": f"{THERE}?sslmode=yes"}, 2, "its parameter sslmode is none of disable"),
    ({"DATABASE_URL": f"{THERE}?connect_timeout=5s"}, 2, "connect_timeout is no whole number"),
    ({"DATABASE_URL": THERE}, 1, "cannot reach the database at 127.0.0.1:1/shop: nothing lis"),
    ({"DATABASE_URL": THERE.replace("://", "+psycopg://")}, 1, "at 127.0.0.1:1/shop: nothing"),
    ({"DATABASE_URL": "postgres://me:hunter2@no.such.invalid/d"}, 1, "host name is unknown"),
    ({"DATABASE_URL": THERE, "DATABASE_LISTEN_URL": "hunter2"}, 2, "DATABASE_LISTEN_URL must"),
    ({"DATABASE_URL": THERE, "DATABASE_LISTEN_URL": "postgresql://h:hunter2/d"}, 2,
     "DATABASE_LISTEN_URL cannot be read: its port"),
    ({"DATABASE_URL": THERE, "LOG_FORMAT": "hunter2"}, 2, "LOG_FORMAT: Input should be 'auto', '"),
    ({"DATABASE_URL": THERE, "OUTBOX_APP": "sagas.app"}, 2, "must look like module:attribute"),
    ({"DATABASE_URL": THERE, "OUTBOX_APP": "examples.shop.app:build"}, 2, "is a function and"),
    ({"DATABASE_URL": THERE, "OUTBOX_APP": "sagas.app:shop"}, 2, "sagas.app has no shop"),
    ({"DATABASE_URL": THERE, "OUTBOX_APP": "sagas.shop:app"}, 2, "no module sagas.shop in "),
]  # fmt: skip


@pytest.mark.parametrize(("env", "code", "says"), SETTINGS, ids=[one[2][:24] for one in SETTINGS])
async def test_what_is_set_wrongly_is_told_in_one_line(
    tmp_path: Path, env: dict[str, str], code: int, says: str
) -> None:
    """What is wrong, what is allowed, and no piece of a password (P12)."""
    ran = await Terminal(tmp_path, BARE).run("relay", "--drain", **env)

    assert (ran.code, says in ran.complaint()) == (code, True), ran
    assert "hunter2" not in ran.err


async def test_a_database_that_is_not_there_is_told_from_a_user_that_is_not(
    database: str, tmp_path: Path
) -> None:
    terminal, parts = Terminal(tmp_path, BARE), urlsplit(database)
    for changed, says in (
        (parts._replace(path="/nowhere"), "there is no database of this name, create it first"),
        (parts._replace(netloc=f"nobody:hunter2@{parts.netloc.rpartition('@')[2]}"), "no user of"),
    ):
        ran = await terminal.run("status", DATABASE_URL=urlunsplit(changed))
        assert (ran.code, says in ran.complaint()) == (1, True), ran
        assert "hunter2" not in ran.err


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ('FATAL:  password authentication failed for user "me"', "the user or password is wrong"),
        ('FATAL:  permission denied for database "shop"', "the connection failed"),
        ('FATAL:  no pg_hba.conf entry for host "::1", user "me", database "shop"', "accept this"),
        ("connection timeout expired", "did not answer in time"),
        ("something hunter2", "the connection failed"),
    ],
)
def test_what_a_server_answers_is_told_in_words_of_ours(told: str, says: str) -> None:
    told = f'connection to server at "127.0.0.1", port 5432 failed: {told}'

    reason = reason_of_refusal(OperationalError(told))

    assert says in reason
    assert "hunter2" not in reason


BROKEN = {
    "raising.py": (
        "KEY = 'hunter2'\nraise ValueError(KEY)\n",
        "fails: ValueError at {}:2; `",
    ),
    "asking.py": ("import os\nos.pathh\n", "(module 'os' has no attribute 'pathh'"),
    "wanting.py": ("import no_such_module\n", "ModuleNotFoundError (No module named 'no_such_mod"),
    "misnaming.py": ("from os import pathh\n", "ImportError (cannot import name 'pathh'"),
    "spelling.py": ("def wrong(:\n", "fails: SyntaxError at {}:1"),
    "leaving.py": ("raise SystemExit(0)\n", "fails: SystemExit at {}:1"),
    "twice.py": (
        "from outbox import App, Message\nclass Wrong(Message):\n    pass\n",
        "outbox: message class Wrong: it needs a topic",
    ),
}


def test_an_application_that_breaks_at_import_is_told_from_one_that_is_missing(
    tmp_path: Path,
) -> None:
    """From the folder it lies in, by the console script, which does not look there by itself."""
    for name, (text, _) in BROKEN.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "shop.py").write_text("from outbox import App\napp = App('a shop')\n", "utf-8")

    for name, (_, says) in BROKEN.items():
        ran = outbox(tmp_path, "--app", f"{name.removesuffix('.py')}:app", "config")
        (line,) = ran.stderr.splitlines()
        assert (ran.returncode, says.format(tmp_path / name) in line) == (2, True), ran
        assert "hunter2" not in line

    (tmp_path / ".env").write_text("OUTBOX_APP=shop:app\n", encoding="utf-8")
    assert "application: a shop" in outbox(tmp_path, "config").stdout
    (tmp_path / ".env").unlink()
    for text, says in (
        ("[tool.outbox\n", "pyproject.toml cannot be read (TOMLDecodeError)"),
        ("[tool.outbox]\napp = 7\n", "is no text like 'module:attribute'"),
    ):
        (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
        ran = outbox(tmp_path, "config")
        assert (ran.returncode, says in ran.stderr) == (2, True), ran


def outbox(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *args], cwd=folder, env=BARE, capture_output=True, text=True, check=False
    )
