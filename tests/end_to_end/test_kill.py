"""SIGKILL at ten random moments of one run: nothing is lost, nothing told twice."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from handlers.emulators.fcm import FcmEmulator, service_account
from handlers.emulators.portal import PortalEmulator
from handlers.portal import SigningSecret
from handlers.settings import ApplicationSettings
from sagas.app import build_app
from sagas.commands import reconcile_all
from sagas.demo import SIGNING_SECRET, emulated_settings
from sagas.nightly import Wiring, nightly
from sagas.wiring import night_wiring
from tests.end_to_end import relay_process
from tests.end_to_end.scene import key
from tests.sagas.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from handlers.emulators.portal_bodies import LoggedRequest

KILLS = 10
SEED = 20260302
LONGER_THAN_A_LEASE = timedelta(seconds=65)
REMINDED, LAPSED = 240, 120
"""Two pushes of three are reminders; every lapsed mentor is paused, told and hidden."""

SOW = """
with made as (
    insert into peer_mentors (organisation_id)
    select %(organisation)s from generate_series(1, %(mentors)s)
    returning id
), housed as (
    insert into chapter_memberships (mentor_id, chapter_id) select id, %(chapter)s from made
), equipped as (
    insert into device_tokens (user_id, address, last_seen_at)
    select id, 'ok-' || id, %(now)s from made
)
insert into certifications (mentor_id, certificate_type, expiry_date)
select id, 'basic', %(expiry)s::date from made
"""


@dataclass
class AheadClock:
    """Real time moved by `ahead`, which grows with each restart: the emulators live in it too."""

    ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        """This instant, moved."""
        return datetime.now(UTC) + self.ahead

    def sql_now(self) -> datetime:
        """The same for SQL."""
        return self.now()


class Watched(list[Any]):
    """A log that tells when it grows."""

    def __init__(self, seen: Callable[[], None]) -> None:
        super().__init__()
        self._seen = seen

    def append(self, entry: LoggedRequest) -> None:
        """Add one entry and tell."""
        super().append(entry)
        self._seen()


@dataclass
class Killer:
    """Kills the relay that runs when as many requests as planned have been seen."""

    plan: list[int]
    seen: int = 0
    kills: list[int] = field(default_factory=list)
    victim: BaseProcess | None = None

    def request_seen(self) -> None:
        """Count one request; kill where it is due, at most once per process."""
        self.seen += 1
        if self.victim is not None and self.plan and self.seen >= self.plan[0]:
            self.kills.append(self.seen)
            del self.plan[0]
            self.victim.kill()
            self.victim = None

    async def request_answered(self, _seconds: float) -> None:
        """Stand for the latency of the push service: the moment between a call and its answer."""
        self.request_seen()


@dataclass
class Outside:
    """The emulators and the settings that lead to them."""

    fcm: FcmEmulator
    portal: PortalEmulator
    clock: AheadClock
    killer: Killer
    settings: dict[str, Any]


@asynccontextmanager
async def outside(killer: Killer) -> AsyncIterator[Outside]:
    """The world outside, watched."""
    clock = AheadClock()
    secret = SigningSecret.parse(SIGNING_SECRET)
    async with (
        FcmEmulator(
            public_key=key().public_key(),
            wall=clock.now,
            latency_seconds=0.001,
            sleep=killer.request_answered,
        ) as fcm,
        PortalEmulator(clock=clock, secrets=[secret]) as portal,
    ):
        portal.log = Watched(killer.request_seen)
        account, _ = service_account(fcm.token_url, key=key())
        settings = emulated_settings(fcm, portal, json.dumps(account))
        yield Outside(fcm, portal, clock, killer, settings)


async def sow(world: World, now: datetime) -> None:
    """Reminded and lapsed mentors of one chapter with a coordinator, all known to the portal."""
    await world.at(now)
    hlf = await world.organisation()
    chapter = await world.chapter(hlf)
    await world.coordinator(hlf, chapter)
    for mentors, days in ((REMINDED, 7), (LAPSED, -1)):
        given = {
            "organisation": hlf.id, "chapter": chapter, "mentors": mentors, "now": now,
            "expiry": world.day(hlf, days),
        }  # fmt: skip
        await world.conn.execute(SOW, given)
    await world.conn.execute("select app.bump_visibility(id) from peer_mentors")


async def publish_the_night(dsn: str, out: Outside) -> None:
    """Everything a night publishes, and nothing delivered."""
    app = build_app(ApplicationSettings(**out.settings), clock=out.clock)

    async def later(_handlers: tuple[str, ...]) -> int:
        return 0

    wired = night_wiring(app, dsn, lambda _stage, _facts: None)
    wiring = Wiring(
        connect=wired.connect, drain=later, clock=wired.clock,
        sync_handlers=wired.sync_handlers, push_handlers=wired.push_handlers,
    )  # fmt: skip
    report = await nightly(wiring)
    assert report.failures == {}
    assert report.sweep.paused == LAPSED


async def relay_until_drained(dsn: str, out: Outside, log: Path) -> int:
    """Start relays, each ahead of the one before, until one ends by itself; how many."""
    starter = multiprocessing.get_context("forkserver")  # imports once, forks per relay
    starter.set_forkserver_preload([relay_process.__name__])
    started = 0
    while True:
        started += 1
        process = starter.Process(
            target=relay_process.drain, args=(dsn, out.settings, out.clock.ahead, str(log))
        )
        process.start()
        out.killer.victim = process
        await asyncio.to_thread(process.join)
        out.killer.victim = None
        if process.exitcode == 0:
            return started
        assert process.exitcode == -signal.SIGKILL
        out.clock.ahead += LONGER_THAN_A_LEASE


@pytest.mark.slow
async def test_t0_10_ten_kills_lose_nothing_and_repeat_nothing(
    database: str, tmp_path: Path
) -> None:
    """T0.10, DSP-4, DSP-6, P2, P4, P10: each inbox row once, both sides equal, no push twice.

    At most the ten calls that were begun are in doubt after a kill.
    """
    least = 2 * (REMINDED + LAPSED) - KILLS * 10  # a push and a POST each, but for calls cut off
    plan = sorted(Random(SEED).sample(range(1, least), KILLS))  # noqa: S311 - moments
    async with outside(Killer(plan)) as out, World.on(database) as world:
        await sow(world, out.clock.now())
        await publish_the_night(database, out)
        started = await relay_until_drained(database, out, tmp_path / "relay.log")
        numbers = await count(world, out)
        print(json.dumps({"killed_at": out.killer.kills, "relays": started, **numbers}))  # noqa: T201 - for the reader of a failure
        assert started == KILLS + 1
        await inbox_rows_exist_once(world, numbers)
        await pushes_are_delivered_once_or_unknown(world, out)
        await portal_equals_ours(database, world, out)
        assert numbers["deliveries"] >= 2000
        assert numbers["dead"] == numbers["waiting"] == 0


async def count(world: World, out: Outside) -> dict[str, int]:
    """The numbers of the run."""
    (row,) = await world.rows(
        "select (select count(distinct delivery_id) from outbox.receipt"
        "  where outcome not in ('superseded', 'withdrawn')) as deliveries,"
        " (select count(*) from outbox.dead_letter) as dead,"
        " (select count(*) from outbox.delivery where unknown_at is not null) as unknown,"
        " (select count(*) from outbox.delivery where unknown_at is null) as waiting,"
        " (select count(*) from notification_items) as items,"
        " (select count(*) from notifications) as inbox_rows"
    )
    return {**row, "pushes": len(out.fcm.deliveries), "posts": len(out.portal.requests())}


async def inbox_rows_exist_once(world: World, numbers: dict[str, int]) -> None:
    """One row per item of every group, each linked from it."""
    assert numbers["inbox_rows"] == numbers["items"]
    linked = "select count(distinct notification_id) from notification_items"
    assert await world.value(linked) == numbers["items"]


async def pushes_are_delivered_once_or_unknown(world: World, out: Outside) -> None:
    """A group delivered arrived once, an unknown one at most once, and it is listed as such."""
    arrived: dict[str, int] = {}
    for push in out.fcm.deliveries:
        arrived[push.address] = arrived.get(push.address, 0) + 1
    groups = await world.rows(
        "select recipient_id, kind, status, d.address from notification_groups as g"
        " join device_tokens as d on d.user_id = g.recipient_id"
    )
    by_mentor = [group for group in groups if group["address"] == f"ok-{group['recipient_id']}"]
    assert len(by_mentor) == REMINDED + LAPSED
    for group in by_mentor:
        times = arrived.get(group["address"], 0)
        assert (group["status"], times) in {("delivered", 1), ("unknown", 0), ("unknown", 1)}
    tags = [(push.tag, push.address) for push in out.fcm.deliveries]
    assert len(set(tags)) == len(tags)
    unknown = sum(group["status"] == "unknown" for group in groups)
    listed = "select count(*) from outbox.delivery where unknown_at is not null"
    assert await world.value(listed) == unknown
    assert unknown <= KILLS * 10  # no more than were begun and open at a kill


async def portal_equals_ours(dsn: str, world: World, out: Outside) -> None:
    """Reconciliation, past every allowance, finds no drift and no alert."""
    out.clock.ahead += timedelta(minutes=20)
    app = build_app(ApplicationSettings(**out.settings), clock=out.clock)
    (report,) = await reconcile_all(app, dsn, "HLF", dry_run=True)
    assert report.complete
    assert report.totals == {"in_sync": REMINDED + LAPSED}
    assert report.open_alerts == 0
    assert await world.value("select count(*) from outbox.saga where ended_at is null") == 0
