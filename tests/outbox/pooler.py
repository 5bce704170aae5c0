"""A transaction-mode PgBouncer of the test's own, on a free port of loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg.conninfo import conninfo_to_dict

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONFIG = """
[databases]
* = {server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 100
query_wait_timeout = 60
server_login_retry = 1
log_connections = 0
log_disconnections = 0
log_stats = 0
"""


def program() -> str | None:
    """PgBouncer on this machine; Debian puts it where only root looks."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


@contextmanager
def pooled(dsn: str, *, size: int) -> Iterator[str]:
    """The DSN of the same database through a pooler with `size` server connections.

    Everything is at the settings it comes with, `ignore_startup_parameters` too: a session option,
    a prepared statement used twice or a LISTEN would fail, or be lost, as on anybody's server.
    """
    found = program()
    assert found is not None, "asked only where it is installed"
    server = {k: str(v) for k, v in conninfo_to_dict(dsn).items() if v is not None}
    database = server.pop("dbname")
    server.setdefault("user", "postgres")
    folder = Path(tempfile.mkdtemp(prefix="outbox-pooler-"))
    try:
        user, group = _account(server.get("host", ""))
        config = folder / "pgbouncer.ini"
        port = _free_port()
        line = " ".join(f"{name}={value}" for name, value in server.items())
        config.write_text(_CONFIG.format(server=line, port=port, size=size), encoding="utf-8")
        folder.chmod(0o755)
        with subprocess.Popen(
            [found, str(config)], stderr=subprocess.PIPE, text=True, user=user, group=group
        ) as process:
            try:
                _wait_until_up(process)
                yield f"postgresql://{server['user']}@127.0.0.1:{port}/{database}"
            finally:
                process.kill()
    finally:
        shutil.rmtree(folder)


def _account(host: str) -> tuple[int, int] | tuple[None, None]:
    """Who may enter the server's socket folder; as root, since PgBouncer refuses to be root."""
    if os.geteuid() != 0:
        return None, None
    if host.startswith("/"):
        owner = Path(host).stat()
        return owner.st_uid, owner.st_gid
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_up(process: subprocess.Popen[str]) -> None:
    told: list[str] = []
    assert process.stderr is not None
    for line in process.stderr:
        told.append(line)
        if "process up" in line:
            return
    raise AssertionError("".join(told))
