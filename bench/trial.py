"""One contender, one database, one measurement: programs are started, stamped and compared here."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from bench.environments import ROOT
from bench.ground import statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.contenders import Contender
    from bench.ground import Ground

SECONDS_MAX = 120.0
_FILL_SECONDS_MAX = 900.0
_LINES_SHOWN = 12


class TrialFailed(Exception):
    """A program ended without its result; the text holds the last lines of its errors."""


@dataclass(frozen=True, slots=True)
class Drained:
    """What one drain gave. `stamps` are (handlers started, seconds since the first one)."""

    wanted: int
    count: int
    seconds: float
    stamps: tuple[tuple[int, float], ...]
    peak_mb: float
    worker_cpu_seconds: float
    server_cpu_seconds: float
    filled_per_second: float
    settings: str
    stopped: bool

    @property
    def rate(self) -> float:
        """Jobs per second over all that was done."""
        return self.count / self.seconds

    def between(self, begin: int, end: int) -> float:
        """Handler starts per second from start number `begin` to number `end`."""
        at = dict(self.stamps) | {0: 0.0}
        return (end - begin) / (at[end] - at[begin])


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from the return of the publishing call to the start of the handler."""

    wanted: int
    milliseconds: tuple[float, ...]
    rate: float

    def percentile(self, share: float) -> float:
        """The value below which `share` of them lie."""
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def drain(  # noqa: PLR0913 - what may be hard about a drain, all named
    ground: Ground,
    contender: Contender,
    count: int,
    *,
    backlog: int = 0,
    held: bool = False,
    starts: int = 0,
    seconds_max: float = SECONDS_MAX,
) -> Drained:
    """Publish `count` (or `backlog`, of which only the first `count` are waited for) and drain.

    `held`: another session keeps a snapshot from before the worker starts until it ends. `starts`
    is how many handler starts that makes, where it is not `count`. Past `seconds_max` it is stopped
    and told for what was done.
    """
    with ground.empty() as dsn:
        call(contender, dsn, "setup")
        filled = call(contender, dsn, "fill", backlog or count, seconds_max=_FILL_SECONDS_MAX)
        _settle(dsn)
        with _snapshot(dsn, held=held):
            before = _server_cpu_seconds(dsn)
            command = "first" if backlog else "drain"
            report = call(contender, dsn, command, starts or count, seconds_max)
            used = _server_cpu_seconds(dsn) - before
    return _drained(report, starts or count, filled, used)


def shared_drain(
    ground: Ground, contender: Contender, count: int, processes: int, *, whole: bool = False
) -> Drained:
    """Drain with several processes at once, or where the number of calls is not known before.

    The clock is that of a drain, and with `whole` it runs from the worker's start: where most is
    settled without a call, the first call says nothing about when the work began.
    """
    with ground.empty() as dsn:
        call(contender, dsn, "setup")
        filled = call(contender, dsn, "fill", count, seconds_max=_FILL_SECONDS_MAX)
        _settle(dsn)
        before = _server_cpu_seconds(dsn)
        workers = [_start(contender, dsn, "share") for _ in range(processes)]
        try:
            for worker in workers:
                _await_ready(worker)
            done_ns = _until_empty(dsn)
            reports = [_result(worker, worker.communicate(timeout=30)) for worker in workers]
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        used = _server_cpu_seconds(dsn) - before
    busy = [report for report in reports if report["count"]]
    begun = "began_ns" if whole else "first_ns"
    merged = {
        **busy[0],
        "seconds": (done_ns - min(report[begun] for report in busy)) / 1e9,
        "count": sum(report["count"] for report in busy),
        "peak_mb": max(report["peak_mb"] for report in busy),
        "cpu_seconds": sum(report["cpu_seconds"] for report in busy),
        "stamps_ms": [] if processes > 1 else busy[0]["stamps_ms"],
    }
    return _drained(merged, count, filled, used)


def publish(ground: Ground, contender: Contender, count: int) -> float:
    """Messages per second, one per transaction on one connection, one after the other."""
    with ground.empty() as dsn:
        call(contender, dsn, "setup")
        report = call(contender, dsn, "publish", count)
    return float(report["count"] / report["seconds"])


def latency(
    ground: Ground, contender: Contender, rate: float, seconds: float, settle_seconds: int = 3
) -> Latency:
    """Publish `rate` a second into an idle worker of another process."""
    count = int(rate * seconds)
    more = {"BENCH_SETTLE_SECONDS": str(settle_seconds)}
    with ground.empty() as dsn, tempfile.TemporaryDirectory() as folder:
        call(contender, dsn, "setup")
        seen, sent = Path(folder, "seen.json"), Path(folder, "sent.json")
        worker = _start(contender, dsn, "consume", count, seen, seconds + 20, more=more)
        try:
            _await_ready(worker)
            produced = call(contender, dsn, "produce", rate, seconds, sent)
            _result(worker, worker.communicate(timeout=seconds + 60))
        finally:
            worker.kill()
            worker.wait()
        started = json.loads(seen.read_text("utf-8"))
        published = json.loads(sent.read_text("utf-8"))
    waits = tuple(
        (at - published[number][1]) / 1e6 for number, at in started.items() if number in published
    )
    if not waits:
        raise TrialFailed(f"{contender.name}: no handler was called")
    return Latency(count, waits, produced["rate"])


@contextmanager
def working(contender: Contender, dsn: str) -> Iterator[None]:
    """A worker at work beside whatever the block does; what it did is not asked."""
    worker = _start(contender, dsn, "share")
    try:
        _await_ready(worker)
        yield
    finally:
        worker.kill()
        worker.communicate()


def call(
    contender: Contender, dsn: str, *command: object, seconds_max: float = SECONDS_MAX * 2
) -> dict[str, Any]:
    """Run one command of a contender to its end and return its result. Raises `TrialFailed`."""
    worker = _start(contender, dsn, *command)
    try:
        return _result(worker, worker.communicate(timeout=seconds_max))
    except subprocess.TimeoutExpired as error:
        raise TrialFailed(f"{contender.name} {command}: not done in {seconds_max} s") from error
    finally:
        worker.kill()
        worker.wait()


def _start(
    contender: Contender, dsn: str, *command: object, more: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*contender.command(), *map(str, command)],
        cwd=ROOT,
        env={**os.environ, **contender.variables(), "BENCH_DSN": dsn, **(more or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _result(worker: subprocess.Popen[str], said: tuple[str, str]) -> dict[str, Any]:
    for line in said[0].splitlines():
        if line.startswith("RESULT "):
            return dict(json.loads(line.removeprefix("RESULT ")))
    tail = "\n".join((said[1] or said[0]).splitlines()[-_LINES_SHOWN:])
    raise TrialFailed(f"exit code {worker.returncode}: {tail}")


def _await_ready(worker: subprocess.Popen[str]) -> None:
    assert worker.stdout is not None
    while not (line := worker.stdout.readline()).startswith("READY"):
        if not line:
            raise TrialFailed(worker.communicate()[1][-500:])


def _drained(
    report: dict[str, Any], wanted: int, filled: dict[str, Any], server_cpu_seconds: float
) -> Drained:
    return Drained(
        wanted=wanted,
        count=report["count"],
        seconds=report["seconds"],
        stamps=tuple((count, ms / 1000) for count, ms in report["stamps_ms"]),
        peak_mb=report["peak_mb"] or 0.0,
        worker_cpu_seconds=report["cpu_seconds"],
        server_cpu_seconds=server_cpu_seconds,
        filled_per_second=filled["count"] / filled["seconds"],
        settings=report["settings"],
        stopped=bool(report.get("stopped")),
    )


def _until_empty(dsn: str) -> int:
    """Ask until nothing is left; the monotonic nanosecond at which it was so."""
    asked, deadline = statement("remaining"), time.monotonic() + SECONDS_MAX
    with psycopg.connect(dsn, autocommit=True) as conn:
        while time.monotonic() < deadline:
            row = conn.execute(asked, {"others": []}).fetchone()
            if row is not None and not row[0]:
                return time.monotonic_ns()
            time.sleep(0.01)
    raise TrialFailed(f"something was left after {SECONDS_MAX:.0f} s")


def _settle(dsn: str) -> None:
    """Let what was published be old: visible to all, on disk, known to the planner."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("vacuum analyze")
        conn.execute("checkpoint")


@contextmanager
def _snapshot(dsn: str, *, held: bool) -> Iterator[None]:
    """Keep a snapshot open meanwhile, as a report or a dump would."""
    if not held:
        yield
        return
    with psycopg.connect(dsn) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.execute("select count(*) from pg_class")
        yield
        conn.rollback()


def _server_cpu_seconds(dsn: str) -> float:
    """CPU seconds of the whole server so far, ended children included; 0 where it is not here."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        row = conn.execute("select pg_read_file('postmaster.pid')").fetchone()
    assert row is not None
    pid = int(row[0].splitlines()[0])
    ticks = os.sysconf("SC_CLK_TCK")
    try:
        total = sum(_times(pid)[:4])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()
    except OSError:
        return 0.0
    for child in children:
        try:
            total += sum(_times(int(child))[:2])
        except OSError:  # it has ended meanwhile and counts as the postmaster's
            continue
    return total / ticks


def _times(pid: int) -> Sequence[int]:
    """User and system time of a process, then those of its ended children, in ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return [int(one) for one in fields[11:15]]
