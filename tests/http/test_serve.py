"""`outbox serve` as it is started: a process, a port, a signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

from tests.http.front import ISSUER, SECRET, login, token

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


def environment(**given: str) -> dict[str, str]:
    """The environment of a process that is configured by `given` alone."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "LOG_FORMAT": "json", **given}


@dataclass
class Served:
    """A process that answers on `port`, and what it logged."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)
    port: int = 0

    def log(self) -> list[dict[str, Any]]:
        """Every line, each of them JSON."""
        return [json.loads(line) for line in self.said]


@contextmanager
def served(dsn: str, folder: Path) -> Iterator[Served]:
    """A process that answers until the block ends; its log is read as it is written."""
    process = subprocess.Popen(
        [sys.executable, "-m", "outbox", "--app", "sagas.app:app", "serve", "--port", "0"],
        env=environment(DATABASE_URL=dsn, API_JWT_SECRET=SECRET, API_JWT_ISSUER=ISSUER),
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    found, opened = Served(process), Event()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            found.said.append(line)
            if '"http.opened"' in line:
                found.port = json.loads(line)["port"]
                opened.set()
        opened.set()

    reader = Thread(target=read)
    reader.start()
    try:
        opened.wait(60)
        assert found.port, "it ended before it answered"
        yield found
    finally:
        process.kill()
        process.wait()
        reader.join()
        assert process.stderr is not None
        process.stderr.close()


def test_it_answers_and_ends_when_told(database: str, tmp_path: Path) -> None:
    with served(login(database), tmp_path) as found:
        place = f"http://127.0.0.1:{found.port}"
        head = {"Authorization": f"Bearer {token(uuid4())}"}
        answers = [
            httpx.get(f"{place}/healthz"),
            httpx.get(f"{place}/me/notifications", headers=head),
            httpx.get(f"{place}/me/notifications"),
            httpx.get(f"{place}/openapi.json"),
        ]
        found.process.send_signal(signal.SIGTERM)
        code = found.process.wait(30)
    log = found.log()

    assert [answer.status_code for answer in answers] == [200, 200, 401, 200]
    assert "server" not in answers[0].headers
    assert [
        (line["route"], line["status"]) for line in log if line["event"] == "http.answered"
    ] == [
        ("/healthz", 200),
        ("/me/notifications", 200),
        (None, 401),
        (None, 200),
    ]
    assert code == 0


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ({"API_JWT_ISSUER": ""}, "API_JWT_ISSUER is not set"),
        ({"API_JWT_SECRET": ""}, "neither API_JWT_SECRET nor API_JWKS_URL"),
        ({"API_JWT_SECRET": "marker-short"}, "API_JWT_SECRET"),
        ({"DATABASE_URL": ""}, "DATABASE_URL"),
    ],
)
def test_what_is_missing_is_named(missing: dict[str, str], told: str, tmp_path: Path) -> None:
    given = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "API_JWT_SECRET": SECRET,
        "API_JWT_ISSUER": ISSUER,
        **missing,
    }
    done = subprocess.run(
        [sys.executable, "-m", "outbox", "--app", "sagas.app:app", "serve"],
        env=environment(**given),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2
    assert told in done.stderr
    assert "marker" not in done.stderr + done.stdout
