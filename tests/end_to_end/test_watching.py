"""What watches from outside, in processes: probes, the live view, log form, and what none shows."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

import psycopg
import pytest

from outbox import publish
from tests.end_to_end.cli import ROOT, SCRIPT, Terminal
from tests.outbox.shop import OrderPlaced, Unheard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BARE = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "OUTBOX_APP": "tests.end_to_end.small:app"}


@asynccontextmanager
async def started(*args: str, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command that goes on until it is told to stop."""
    process = await asyncio.create_subprocess_exec(
        str(SCRIPT), *args, cwd=ROOT, env={**BARE, **env},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_relay_answers_its_probes_until_it_is_told_to_stop(database: str) -> None:
    args = ("relay", "--http", "127.0.0.1:0")
    async with started(*args, DATABASE_URL=database, LOG_FORMAT="json") as process:
        assert process.stderr is not None
        port: Any = None
        while port is None:
            line = json.loads(await process.stderr.readline())
            port = line["port"] if line["event"] == "probe.opened" else None
        said = await asyncio.to_thread(_get, f"http://127.0.0.1:{port}/healthz")
        process.send_signal(signal.SIGTERM)
        code = await process.wait()

    assert said["alive"] is True
    assert code == 0


def _get(url: str) -> Any:
    with urlopen(url, timeout=10) as answer:  # noqa: S310 - our own address
        return json.load(answer)


async def test_the_live_view_ends_when_it_is_interrupted(database: str) -> None:
    args = ("status", "--watch", "--every", "0.2")
    async with started(*args, DATABASE_URL=database) as process:
        assert process.stdout is not None
        line = b"-"
        while line and b"deliveries at" not in line:
            line = await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()

    assert process.returncode == 0
    assert b"Traceback" not in err


async def test_what_cannot_be_watched_says_why(database: str, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, {**BARE, "DATABASE_URL": database})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        busy = await terminal.run("relay", "--http", port)
    none = await terminal.run("relay", "--http", "nine")
    both = await terminal.run("status", "--watch", "--json")
    form = await terminal.run("status", LOG_FORMAT="xml")

    assert [ran.code for ran in (busy, none, both, form)] == [2, 2, 2, 2]
    assert f"cannot listen on 127.0.0.1:{port}" in busy.complaint()
    assert "--http is 'nine'" in none.complaint()
    assert "--watch is for people" in both.complaint()
    assert "LOG_FORMAT" in form.complaint()


@pytest.mark.parametrize("form", [(), ("--json",)])
async def test_no_screen_shows_what_is_personal(
    form: tuple[str, ...], database: str, tmp_path: Path
) -> None:
    """P12: neither payloads, keys and correlations nor the password of an address."""
    parts = urlsplit(database)
    user, _, host = parts.netloc.rpartition("@")
    secret = parts._replace(netloc=f"{user.partition(':')[0]}:password-marker@{host}")
    given = urlunsplit(secret) if not os.environ.get("PGPASSWORD") else database
    terminal = Terminal(tmp_path, {**BARE, "DATABASE_URL": given})
    terms = {"key": "key-marker", "correlation_id": "id-marker", "dedup_key": "dedup-marker"}
    with psycopg.connect(database) as conn:
        publish(conn, OrderPlaced(order_id=1, note="payload-marker"), **terms)  # type: ignore[arg-type]
        message = publish(conn, Unheard(place="payload-marker"), **terms).message_id  # type: ignore[arg-type]
    commands: list[tuple[Any, ...]] = [
        ("status",), ("doctor",), ("explain", "--message", message), ("explain", "--message", 1),
    ]  # fmt: skip
    ran = [await terminal.run(*command, *form) for command in commands]
    ran.append(await terminal.run("config"))

    assert [one.code for one in ran] == [0, 1, 0, 0, 0], [one.err for one in ran]
    assert "marker" not in "".join(one.out + one.err for one in ran)
