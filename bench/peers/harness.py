"""The commands, the clocks and the report that every program of this folder shares.

The clock of a drain runs from the start of the first handler until the database says that nothing
is left. Latency runs from the moment the publishing call had committed to the start of the handler.
All stamps are of `CLOCK_MONOTONIC`, which is one for all processes of a machine.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

DSN = os.environ.get("BENCH_DSN", "")
STAMP_EVERY = 1_000
REMAINING_EVERY_SECONDS = 0.01
WARM_UP = 200


def setting(name: str, default: int) -> int:
    """A number that the runner may set, read from `BENCH_<name>`."""
    return int(os.environ.get(f"BENCH_{name}", str(default)))


def payload(number: int) -> dict[str, Any]:
    """A JSON object of about 200 bytes."""
    return {
        "seq": number,
        "order_id": 1_000_000 + number,
        "customer": f"c{number % 5000:05d}",
        "amount": f"{number % 1000}.{number % 100:02d}",
        "note": "x" * 110,
    }


class Peer(Protocol):
    """One queue or outbox. `work` calls `on(number)` at the start of each handler."""

    bulk_how: str
    uvloop: bool

    @property
    def settings(self) -> str:
        """What was measured, in words."""

    async def setup(self) -> None:
        """Make the tables in an empty database."""

    async def fill(self, count: int) -> None:
        """Publish `count` in bulk, as its documentation says."""

    async def opener(self) -> Callable[[int], Awaitable[Any]]:
        """Return what publishes one, in a transaction of its own."""

    async def remaining(self) -> int:
        """Zero when nothing is left to do."""

    async def work(self, on: Callable[[int], Any]) -> None:
        """Work as a daemon."""


class Progress:
    """Stamps at handler starts: the first, every thousandth, or all if `keep`."""

    def __init__(self, wanted: int, *, keep: bool = False) -> None:
        self.wanted, self.keep, self.count = wanted, keep, 0
        self.first_ns = 0
        self.cpu_before = 0.0
        self.stamps: list[tuple[int, int]] = []
        self.seen: dict[int, int] = {}
        self.all = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._alone = threading.Lock()

    def hit(self, number: int) -> None:
        """A handler starts, in the loop's thread."""
        self._stamp(number)
        if self.count == self.wanted:
            self.all.set()

    def hit_from_thread(self, number: int) -> None:
        """A handler starts, in a thread of its own."""
        with self._alone:
            self._stamp(number)
            last = self.count == self.wanted
        if last:
            self._loop.call_soon_threadsafe(self.all.set)

    def _stamp(self, number: int) -> None:
        now = time.monotonic_ns()
        if not self.count:
            self.first_ns, self.cpu_before = now, cpu_seconds()
        self.count += 1
        if self.keep:
            self.seen.setdefault(number, now)
        elif self.count % STAMP_EVERY == 0:
            self.stamps.append((self.count, now))

    def report(self, done_ns: int, **more: Any) -> dict[str, Any]:
        """What was measured; `stamps_ms` are since the first handler's start."""
        return {
            "count": self.count,
            "first_ns": self.first_ns,
            "seconds": (done_ns - self.first_ns) / 1e9,
            "peak_mb": peak_mb(),
            "cpu_seconds": round(cpu_seconds() - self.cpu_before, 3),
            "stamps_ms": [
                [count, round((at - self.first_ns) / 1e6, 2)] for count, at in self.stamps
            ],
            **more,
        }


def cpu_seconds() -> float:
    """CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_mb() -> float | None:
    """The most memory this process has held (VmHWM), in MB; None where the system keeps none."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    held = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return round(held[0] / 1024, 1) if held else None


def emit(report: dict[str, Any]) -> None:
    """Print the one line the runner reads."""
    print("RESULT " + json.dumps(report), flush=True)


def main(peer: Peer) -> None:
    """Do what the command line says and end at once: no peer's shutdown is measured."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup")
    for name in ("fill", "publish"):
        commands.add_parser(name).add_argument("count", type=int)
    for name in ("drain", "first"):
        some = commands.add_parser(name)
        some.add_argument("count", type=int)
        some.add_argument("seconds_max", type=float)
    commands.add_parser("share")
    consume = commands.add_parser("consume")
    consume.add_argument("count", type=int)
    consume.add_argument("path", type=Path)
    consume.add_argument("seconds_max", type=float)
    produce = commands.add_parser("produce")
    produce.add_argument("rate", type=float)
    produce.add_argument("seconds", type=float)
    produce.add_argument("path", type=Path)
    terms = vars(parser.parse_args())
    command = COMMANDS[terms.pop("command")]
    run(command(peer, **terms), uvloop=peer.uvloop)
    sys.stdout.flush()
    os._exit(0)


def run(coroutine: Coroutine[Any, Any, None], *, uvloop: bool) -> None:
    """Run on uvloop where the peer runs on it, else on the loop of the standard library."""
    if uvloop and find_spec("uvloop"):
        import uvloop as faster  # noqa: PLC0415 - not in every environment

        faster.run(coroutine)
    else:
        asyncio.run(coroutine)


async def _setup(peer: Peer) -> None:
    await peer.setup()
    emit({"settings": peer.settings})


async def _fill(peer: Peer, count: int) -> None:
    gc.freeze()  # what a program has imported is no part of what it publishes, whoever it is
    began = time.monotonic_ns()
    await peer.fill(count)
    seconds = (time.monotonic_ns() - began) / 1e9
    emit({"count": count, "seconds": seconds, "how": peer.bulk_how})


async def _publish(peer: Peer, count: int) -> None:
    one = await peer.opener()
    for number in range(WARM_UP):
        await one(number)
    began = time.monotonic_ns()
    for number in range(count):
        await one(number)
    emit({"count": count, "seconds": (time.monotonic_ns() - began) / 1e9})


async def _drain(peer: Peer, count: int, seconds_max: float) -> None:
    """All of it, until the database says none is left; past `seconds_max`, what was done so far."""
    progress = Progress(count)
    _start(peer, progress)
    try:
        async with asyncio.timeout(seconds_max):
            await progress.all.wait()
            while await peer.remaining():  # noqa: ASYNC110 - only the database knows
                await asyncio.sleep(REMAINING_EVERY_SECONDS)
    except TimeoutError:
        emit(progress.report(time.monotonic_ns(), settings=peer.settings, stopped=True))
        return
    emit(progress.report(time.monotonic_ns(), settings=peer.settings))


async def _first(peer: Peer, count: int, seconds_max: float) -> None:
    """The first `count` of a larger backlog: the clock stops at the start of that handler."""
    progress = Progress(count)
    _start(peer, progress)
    stopped = False
    try:
        async with asyncio.timeout(seconds_max):
            await progress.all.wait()
    except TimeoutError:
        stopped = True
    emit(progress.report(time.monotonic_ns(), settings=peer.settings, stopped=stopped))


async def _share(peer: Peer) -> None:
    """Work until standard input ends; the runner asks the database when that is."""
    progress = Progress(0)
    began = time.monotonic_ns()
    _start(peer, progress)
    print("READY", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    emit(progress.report(time.monotonic_ns(), settings=peer.settings, began_ns=began))


async def _consume(peer: Peer, count: int, path: Path, seconds_max: float) -> None:
    progress = Progress(count, keep=True)
    _start(peer, progress)
    await asyncio.sleep(setting("SETTLE_SECONDS", 3))  # no peer says when it listens
    print("READY", flush=True)
    try:
        async with asyncio.timeout(seconds_max):
            await progress.all.wait()
    except TimeoutError:
        pass
    _keep(path, progress.seen)
    emit({"seen": len(progress.seen), "settings": peer.settings})


async def _produce(peer: Peer, rate: float, seconds: float, path: Path) -> None:
    """Publish `rate` a second; keep a stamp before and one after each call."""
    one = await peer.opener()
    stamps: dict[int, tuple[int, int]] = {}
    count = int(rate * seconds)
    began = time.monotonic()
    for number in range(count):
        early = began + number / rate - time.monotonic()
        if early > 0:
            await asyncio.sleep(early)
        before = time.monotonic_ns()
        await one(number)
        stamps[number] = (before, time.monotonic_ns())
    took = time.monotonic() - began
    _keep(path, stamps)
    emit({"sent": count, "rate": round(count / took, 1)})


def _start(peer: Peer, progress: Progress) -> None:
    """Start the worker; if it ends, this process ends with its error."""
    threaded = getattr(peer, "threaded", False)
    task = asyncio.ensure_future(peer.work(progress.hit_from_thread if threaded else progress.hit))
    task.add_done_callback(_ended)
    _KEPT.append(task)


def _ended(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(3)


def _keep(path: Path, stamps: dict[int, Any]) -> None:
    path.write_text(json.dumps(stamps), encoding="utf-8")


_KEPT: list[asyncio.Future[None]] = []
COMMANDS: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
    "setup": _setup,
    "fill": _fill,
    "publish": _publish,
    "drain": _drain,
    "first": _first,
    "share": _share,
    "consume": _consume,
    "produce": _produce,
}
