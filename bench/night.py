"""PRF-1: mentor records end to end, from the nightly run through the inbox to an answered push.

Every mentor is due for a reminder and has one device, and FCM answers after 300 ms: the worst case
of the rule, with the handler's own concurrency of ten. Timed is the whole nightly run, its
credential checks included, on the real clock.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg

from bench.emulators import emulated
from bench.figures import Figure
from handlers.settings import ApplicationSettings
from outbox import Relay, SystemClock
from sagas import queries_seed
from sagas.app import build_app
from sagas.nightly import nightly
from sagas.seed import OSLO, Rows
from sagas.tiers import local_date
from sagas.wiring import night_wiring

if TYPE_CHECKING:
    from datetime import datetime

    from bench.figures import Scale
    from bench.ground import Ground
    from sagas.wiring import Application

FCM_LATENCY_SECONDS = 0.3
_DAYS_LEFT = 30


async def prf1(ground: Ground, scale: Scale) -> list[Figure]:
    """Seconds for the nightly run of `scale.mentors` mentors, all of them due."""
    took: list[float] = []
    delivered: list[int] = []
    with emulated(FCM_LATENCY_SECONDS) as settings:
        for _ in range(scale.runs):
            app = build_app(ApplicationSettings(**settings))
            with ground.fresh(application=True) as dsn:
                seconds, pushes = await _one_night(app, dsn, scale.mentors)
            took.append(seconds)
            delivered.append(pushes)
    terms = {
        "mentors": scale.mentors, "pushes_delivered": delivered[0], "fcm_latency_ms": 300,
        "fcm_concurrency": 10, "rule": "PRF-1: 200 within 10 s",
    }  # fmt: skip
    return [Figure("prf1", "nightly run to last push", "s", tuple(took), terms)]


async def _one_night(app: Application, dsn: str, mentors: int) -> tuple[float, int]:
    now = SystemClock().now()
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await queries_seed.insert_rows(conn, _rows(mentors, now), now=now)
    relay = Relay(app, dsn)
    async with relay.opened():  # what sowing published is not part of the night
        await relay.drain()
    began = time.perf_counter()
    report = await nightly(night_wiring(app, dsn, lambda _stage, _facts: None))
    took = time.perf_counter() - began
    pushes = report.pushes.success_count
    if report.failures or pushes < mentors:
        message = f"{pushes} of {mentors} pushes were delivered: {dict(report.failures)}"
        raise RuntimeError(message)
    return took, pushes


def _rows(mentors: int, now: datetime) -> Rows:
    """One organisation, one chapter with a coordinator, and mentors all due tonight."""
    rows = Rows()
    organisation, chapter, coordinator = uuid4(), uuid4(), uuid4()
    rows.organisations.append((organisation, "BEN", "Bench", "none"))
    rows.chapters.append((chapter, organisation, "Oslo"))
    rows.roles.append((coordinator, organisation, chapter, "coordinator"))
    rows.devices.append((coordinator, f"ok-{coordinator}", "android"))
    expiry = local_date(now, OSLO) + timedelta(days=_DAYS_LEFT)
    issued = expiry - timedelta(days=730)
    for mentor in (uuid4() for _ in range(mentors)):
        rows.mentors.append((mentor, organisation, "active"))
        rows.memberships.append((mentor, chapter))
        rows.certificates.append((uuid4(), mentor, "peer_mentor", issued, expiry, True, None))
        rows.devices.append((mentor, f"ok-{mentor}", "android"))
    return rows
