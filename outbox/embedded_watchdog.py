"""The watchdog of an embedded server: when its owner is gone, no server and no folder stays behind.

Run as a program of its own (`python -I -S embedded_watchdog.py OWNER_PID`) by `outbox.embedded`;
it imports the standard library alone. Its standard input is a pipe whose other end only the owner
holds, so that the end of the owner, however it ends, is the end of the pipe. The lines on it:

    home PATH    a folder to remove in the end; there may be several
    server PID   a child of the owner to stop in the end (`initdb` or the postmaster)
    gone         the owner has seen that child end by itself
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

STOP_MAX_S = 10.0
"""How long a server may take to stop before it is killed. PostgreSQL itself kills after 5 s."""
LAST_WORDS_MAX_S = 2.0
"""How long a pipe may stay open after the owner's death: a child starting up reports itself."""
POLL_S = 0.02


class Watch:
    """What must be stopped and removed when the owner is gone."""

    def __init__(self) -> None:
        self.homes: list[Path] = []
        self.server: int | None = None

    def hear(self, line: bytes) -> None:
        """Take one line of the owner, or of a child that reports its own process id."""
        word, _, rest = line.partition(b" ")
        if word == b"home":
            self.homes.append(Path(os.fsdecode(rest)))
        elif word == b"server":
            self.server = int(rest)
        elif word == b"gone":
            self.server = None

    def end(self) -> None:
        """Stop the server at once, kill it if it does not obey, and remove its folders."""
        if self.server is not None:
            stop(self.server)
        for home in self.homes:
            remove(home)


def main(owner: int) -> None:
    """Listen until the owner is gone, then clean up after it."""
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)  # the owner decides, or its death does
    watch = Watch()
    listen(sys.stdin.fileno(), watch, owner_handle(owner))
    watch.end()


def owner_handle(owner: int) -> int | None:
    """Return a descriptor that becomes readable when `owner` ends; -1 if it has ended already.

    The pipe alone would do but for a child forked by the owner (not executed), which holds the
    other end too and may live on. None: this platform has no such descriptors.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        handle = os.pidfd_open(owner)
    except OSError:
        return -1 if os.getppid() != owner else None
    if os.getppid() != owner:  # it ended first, and the number may stand for another process
        os.close(handle)
        return -1
    return handle


def listen(pipe: int, watch: Watch, owner: int | None) -> None:
    """Feed `watch` from `pipe` until the pipe ends, or until the owner is gone and it is silent."""
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    alive = owner != -1
    if owner is not None and alive:
        poller.register(owner, select.POLLIN)
    deadline = float("inf") if alive else time.monotonic() + LAST_WORDS_MAX_S
    rest = b""
    while time.monotonic() < deadline:
        wait_ms = None if alive else max(0, int((deadline - time.monotonic()) * 1000))
        for descriptor, _ in poller.poll(wait_ms):
            if descriptor == pipe:
                chunk = os.read(pipe, 4096)
                if not chunk:
                    return
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    watch.hear(line)
            else:
                poller.unregister(descriptor)
                alive, deadline = False, time.monotonic() + LAST_WORDS_MAX_S


def stop(server: int) -> None:
    """End the process `server`: an immediate shutdown first, a kill if that takes too long."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(server) if hasattr(os, "pidfd_open") else None
        os.kill(server, signal.SIGQUIT)
        if not ends(server, handle):
            os.kill(server, signal.SIGKILL)


def ends(server: int, handle: int | None) -> bool:
    """Wait for the end of `server`, by its handle if there is one: reaping it may take longer."""
    if handle is not None:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        return bool(poller.poll(int(STOP_MAX_S * 1000)))
    deadline = time.monotonic() + STOP_MAX_S
    while time.monotonic() < deadline:
        os.kill(server, 0)
        time.sleep(POLL_S)
    return False


def remove(home: Path) -> None:
    """Remove the folder, again if a dying child of the server still wrote into it."""
    deadline = time.monotonic() + STOP_MAX_S
    while home.exists() and time.monotonic() < deadline:
        shutil.rmtree(home, ignore_errors=True)
        if home.exists():
            time.sleep(POLL_S)


if __name__ == "__main__":
    main(int(sys.argv[1]))
