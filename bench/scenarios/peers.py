"""Ours and the peers on one server in one run, through one harness."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from bench import trial
from bench.contenders import OURS, PEERS, WAITING_ALONE, ours
from bench.environments import ROOT, NotInstalled
from bench.figures import Figure, Gathered
from bench.scenarios.waiting import waited

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.contenders import Contender
    from bench.figures import Scale
    from bench.ground import Ground

    Step = Callable[[Ground, Scale, Gathered, Contender], None]

_PER_SECOND = "jobs/s"


async def drain(ground: Ground, scale: Scale, names: Sequence[str]) -> list[Figure]:
    """No-op jobs drained by one worker process, after they were published by the bulk call.

    Each contender has the settings it is best with; slow ones are given fewer jobs. The clock runs
    from the start of the first handler until the database says that nothing is left.
    """
    return _beside(ground, scale, names, _drain)


async def publish(ground: Ground, scale: Scale, names: Sequence[str]) -> list[Figure]:
    """One job per transaction, on one connection, one after the other, through each one's API."""
    return _beside(ground, scale, names, _publish)


async def latency(ground: Ground, scale: Scale, names: Sequence[str]) -> list[Figure]:
    """From the return of the publishing call to the start of the handler in another process.

    Ours has a handler's default terms: the wide ones are for throughput. *psycopg alone* hears a
    ring and leases one row, and begins a transaction where a DATABASE handler starts in one: no
    outbox, and nothing that a relay over psycopg could be faster than.
    """
    return _beside(ground, scale, names, _wait, *WAITING_ALONE.values())


def _beside(
    ground: Ground, scale: Scale, names: Sequence[str], step: Step, *more: Contender
) -> list[Figure]:
    """Ours and each peer in turns; one that cannot be installed, or fails, is named and why."""
    got = Gathered(f"peers{step.__name__}", jobs=scale.deliveries)
    contenders = [*OURS.values(), *more, *_installed(names, got)]
    for _ in range(scale.runs):
        for contender in contenders:
            try:
                step(ground, scale, got, contender)
            except (trial.TrialFailed, subprocess.TimeoutExpired) as why:
                print(f"{contender.name}: {why}", file=sys.stderr)
                got.lacks(f"{contender.name}: failed", "-", _told(why))
    return got.figures()


def _told(why: trial.TrialFailed | subprocess.TimeoutExpired) -> str:
    """The reason without the paths of this machine."""
    if isinstance(why, subprocess.TimeoutExpired):
        return f"not done in {why.timeout:.0f} s"
    return str(why).replace(str(ROOT), ".")


def _installed(names: Sequence[str], got: Gathered) -> list[Contender]:
    found = []
    for name in names or PEERS:
        try:
            PEERS[name].make()
        except NotInstalled as why:
            got.lacks(name, "not installed", str(why))
        else:
            found.append(PEERS[name])
    return found


def _drain(ground: Ground, scale: Scale, got: Gathered, contender: Contender) -> None:
    count = _share(contender, scale.deliveries)
    one = trial.drain(ground, contender, count)
    tens = one.count / 10_000
    got.add(
        f"{contender.name}, drain",
        one.rate,
        _PER_SECOND,
        jobs=count,
        settings=one.settings,
        versions=contender.versions(),
        worker_cpu_seconds_per_10k=round(one.worker_cpu_seconds / tens, 3),
        server_cpu_seconds_per_10k=round(one.server_cpu_seconds / tens, 3),
        peak_mb=one.peak_mb,
        **({"stopped_after": one.count} if one.stopped else {}),
    )
    got.add(f"{contender.name}, bulk", one.filled_per_second, _PER_SECOND, jobs=count)


def _publish(ground: Ground, scale: Scale, got: Gathered, contender: Contender) -> None:
    if contender.name not in {"ours idempotent", "ours ambiguous"}:  # they publish alike
        rate = trial.publish(ground, contender, scale.published)
        got.add(f"{contender.name}, one per transaction", rate, _PER_SECOND, jobs=scale.published)


def _wait(ground: Ground, scale: Scale, got: Gathered, contender: Contender) -> None:
    if contender.name == "ours ambiguous":
        return  # it waits as the idempotent one does, and a commit more
    if contender.name in OURS:
        contender = ours(contender.name, effect=contender.settings["EFFECT"])
    waited(ground, scale, got, contender)


def _share(contender: Contender, count: int) -> int:
    return max(1_000, int(count * contender.share))
