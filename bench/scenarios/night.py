"""The night's work end to end: a worst case with a slow FCM, and many certificates."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg

from bench.emulators import emulated
from bench.figures import Figure, Gathered
from handlers.settings import ApplicationSettings
from outbox import Relay, SystemClock
from sagas import queries_seed
from sagas.app import build_app
from sagas.nightly import nightly
from sagas.policy import DEFAULTS, Audience
from sagas.seed import OSLO, Rows
from sagas.tiers import local_date
from sagas.wiring import night_wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from bench.figures import Scale
    from bench.ground import Ground
    from sagas.results import NightlyReport
    from sagas.wiring import Application

FCM_LATENCY_SECONDS = 0.3
_DAYS_LEFT = 30
_VALID_DAYS = 730
_ORGANISATIONS = 20
_CHAPTERS = 20
_TYPES = ("peer_mentor", "first_aid")
_LOOK_EVERY = 0.05


async def prf1(ground: Ground, scale: Scale) -> list[Figure]:
    """The nightly run for mentors who are all due, each with one device: claims, inbox, pushes.

    FCM is an emulator in a process of its own that answers after 300 ms. Ten sends at a time are
    the floor: pushes x 0.3 s / 10. PRF-1 asks for 200 within 10 s, PRF-2 for ten at a time.
    """
    got = Gathered("prf1", mentors=scale.mentors, fcm_latency_ms=300, fcm_concurrency=10)
    with emulated(FCM_LATENCY_SECONDS) as settings:
        for _ in range(scale.runs):
            app = build_app(ApplicationSettings(**settings))
            with ground.fresh(application=True) as dsn:
                await sow(app, dsn, lambda now: all_due(scale.mentors, now))
                took, report = await _one_night(app, dsn)
            pushes = report.pushes.success_count
            if pushes < scale.mentors:
                raise RuntimeError(f"{pushes} of {scale.mentors} pushes were delivered")
            got.add("nightly run to last push", took, "s", pushes_delivered=pushes)
    return got.figures()


async def many_certificates(ground: Ground, scale: Scale) -> list[Figure]:
    """`outbox nightly` over many certificates, and again, in its own process; FCM answers at once.

    Each mentor has two certificates, their last days spread evenly over two years ahead, so that a
    night finds about one in twelve in a tier; twenty organisations of twenty chapters with two
    coordinators each. The second run finds nothing to do. Both must count exactly what was sown.
    Times are the command's own, from start to exit; a tenth of the certificates shows what memory
    does as mentors get more.
    """
    got = Gathered("nightly", organisations=_ORGANISATIONS)
    few = scale.certificates // 10
    with emulated(0.0) as settings:
        for count in (few, *[scale.certificates] * (1 if scale.quick else 2)):
            app = build_app(ApplicationSettings(**settings))
            with ground.fresh(application=True) as dsn:
                sown = Sown.of(count)
                await sow(app, dsn, sown.rows)
                first, again = [_command(dsn, settings) for _ in range(2)]
            sown.check(first.report, again.report)
            size = "" if count == scale.certificates else f", {count:,} certificates"
            facts = {"certificates": count, "pushes": first.report["pushes"]["successCount"]}
            got.add(f"first run{size}", first.seconds, "s", **facts)
            got.add(f"run again{size}", again.seconds, "s", **facts)
            got.add(f"peak memory{size}", first.peak_mb, "MB", **facts)
            if not size:
                tens = count / 10_000
                got.add("first run, per 10,000 certificates", first.seconds / tens, "s", **facts)
                got.add("run again, per 10,000 certificates", again.seconds / tens, "s", **facts)
    return got.figures()


@dataclass(frozen=True, slots=True)
class Ran:
    """One `outbox nightly`: what it reported, how long it took, the most memory it had (MB)."""

    report: dict[str, Any]
    seconds: float
    peak_mb: float


def _command(dsn: str, settings: Mapping[str, Any]) -> Ran:
    """Run the command on the database; raises RuntimeError if a step of it failed."""
    given = {name.upper(): str(value) for name, value in settings.items()}
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "outbox", "nightly", "--json"],
        env={**os.environ, **given, "DATABASE_URL": dsn},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        peak = 0.0
        while child.poll() is None:
            peak = max(peak, _peak_mb(child.pid))
            time.sleep(_LOOK_EVERY)
        assert child.stdout is not None
        told = child.stdout.read()
    took = time.perf_counter() - began
    if child.returncode != 0:
        raise RuntimeError(f"the night ended with {child.returncode}: {told[-300:]!r}")
    return Ran(json.loads(told), took, peak)


def _peak_mb(pid: int) -> float:
    """The most memory a process has had so far, 0 where the system does not say.

    What the system reports at the end counts the moment before the program was exchanged, too, when
    it still was a copy of this process.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


@dataclass(frozen=True, slots=True)
class Sown:
    """So many certificates, two for each mentor; `due` of them have a tier tonight by audience."""

    count: int
    due: Mapping[Audience, int]

    @classmethod
    def of(cls, count: int) -> Sown:
        """Count without the code that is measured: a tier is open from its first day to day 0."""
        days = [_days_left(number) for number in range(count)]
        first = {audience: max(policy.thresholds) for audience, policy in DEFAULTS.items()}
        due = {audience: sum(day <= opened for day in days) for audience, opened in first.items()}
        return cls(count, due)

    def rows(self, now: datetime) -> Rows:
        """The rows to sow."""
        rows = Rows()
        places = []
        for number in range(_ORGANISATIONS):
            organisation = uuid4()
            rows.organisations.append((organisation, f"B{number}", f"Bench {number}", "none"))
            for chapter in [uuid4() for _ in range(_CHAPTERS)]:
                rows.chapters.append((chapter, organisation, f"Place {chapter.hex[:6]}"))
                places.append((organisation, chapter))
                for person in (uuid4(), uuid4()):
                    rows.roles.append((person, organisation, chapter, "coordinator"))
                    rows.devices.append((person, f"ok-{person}", "android"))
        for number in range(0, self.count, 2):
            organisation, chapter = places[number // 2 % len(places)]
            days = _days_left(number), _days_left(number + 1)
            _add_mentor(rows, now, organisation, chapter, *days)
        return rows

    def check(self, first: Mapping[str, Any], again: Mapping[str, Any]) -> None:
        """Raise RuntimeError unless each record was counted once, in both runs."""
        fired = sum(self.due.values())
        records = self.count * len(self.due)
        expected = [
            {"processed": records, "created": fired, "skipped": 0, "failed": 0},
            {"processed": records, "created": 0, "skipped": fired, "failed": 0},
        ]
        for wanted, report in zip(expected, (first, again), strict=True):
            found = {name: report["total"][name] for name in wanted}
            if found != wanted:
                raise RuntimeError(f"the night counted {found}, sown was {wanted}")
        if first["pushes"]["successCount"] < self.due[Audience.MENTOR]:
            raise RuntimeError(f"only {first['pushes']} were pushed")


def _days_left(number: int) -> int:
    """The last day of certificate `number`, spread so that both of a mentor differ."""
    return number * 7 % _VALID_DAYS


async def sow(app: Application, dsn: str, rows: Callable[[datetime], Rows]) -> None:
    """Sow, and deliver what sowing published: it is not part of the night."""
    now = SystemClock().now()
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await queries_seed.insert_rows(conn, rows(now), now=now)
    relay = Relay(app, dsn)
    async with relay.opened():
        await relay.drain()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute("vacuum analyze")


async def _one_night(app: Application, dsn: str) -> tuple[float, NightlyReport]:
    began = time.perf_counter()
    report = await nightly(night_wiring(app, dsn, lambda _stage, _facts: None))
    took = time.perf_counter() - began
    if report.failures:
        raise RuntimeError(f"the night failed: {dict(report.failures)}")
    return took, report


def all_due(mentors: int, now: datetime) -> Rows:
    """One organisation, one chapter with a coordinator, and mentors all due tonight."""
    rows = Rows()
    organisation, chapter, coordinator = uuid4(), uuid4(), uuid4()
    rows.organisations.append((organisation, "BEN", "Bench", "none"))
    rows.chapters.append((chapter, organisation, "Oslo"))
    rows.roles.append((coordinator, organisation, chapter, "coordinator"))
    rows.devices.append((coordinator, f"ok-{coordinator}", "android"))
    for _ in range(mentors):
        _add_mentor(rows, now, organisation, chapter, _DAYS_LEFT)
    return rows


def _add_mentor(
    rows: Rows, now: datetime, organisation: object, chapter: object, *days_left: int
) -> None:
    mentor = uuid4()
    rows.mentors.append((mentor, organisation, "active"))
    rows.memberships.append((mentor, chapter))
    rows.devices.append((mentor, f"ok-{mentor}", "android"))
    for kind, days in zip(_TYPES, days_left, strict=False):
        expiry = local_date(now, OSLO) + timedelta(days=days)
        issued = expiry - timedelta(days=_VALID_DAYS)
        rows.certificates.append((uuid4(), mentor, kind, issued, expiry, kind == _TYPES[0], None))
