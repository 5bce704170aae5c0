"""The whole story in one command: a PostgreSQL of its own, FCM and portal on loopback.

Two organisations are sown, the portal is filled, a night is run while the portal is down, alerts
open, a coordinator retries, the portal heals, the night is run again and sends nothing twice, one
mentor renews, and reconciliation finds both sides equal. Time is the injected clock's: the first
night is the one before Oslo's clocks change.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final

from psycopg import AsyncConnection

import schema.migrations
from handlers.emulators.dataverse import DataverseEmulator
from handlers.emulators.fcm import FcmEmulator, service_account
from handlers.emulators.google_token import generate_key
from handlers.emulators.portal import CLIENT_ID, CLIENT_SECRET, PortalEmulator
from handlers.portal import SigningSecret
from handlers.ports import DATAVERSE, WEBHOOK
from handlers.settings import ApplicationSettings
from outbox import Relay, VirtualClock, inspection, migrations, redrive
from outbox.cli import out, print_json
from outbox.embedded import database_url_or_embedded
from outbox.logs import configure_logs
from outbox.settings import EngineSettings, load_settings
from sagas import coordinator, queries_demo
from sagas.app import build_app
from sagas.commands import reconcile_all
from sagas.nightly import nightly
from sagas.seed import check_unused, seed
from sagas.sweeping import NAME as SWEEP
from sagas.visibility import SYNC_PENDING
from sagas.wiring import night_wiring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from rich.console import Console

    from sagas.reconcile import ReconciliationReport
    from sagas.results import NightlyReport
    from sagas.wiring import Application

FIRST_NIGHT: Final = datetime(2026, 3, 28, 0, 5, tzinfo=UTC)
SIGNING_SECRET: Final = "whsec_" + base64.b64encode(b"emulated-signing-secret-32-bytes").decode()
_SCOPE: Final = "https://hlf.crm4.dynamics.com/.default"
_SEED: Final = 7
_TOLD_ONCE: Final = ("inbox_rows", "groups", "reminders", "delivered", "paused")


@dataclass(slots=True)
class Story:
    """What happened, in order, and whether everything that must hold did."""

    clock: VirtualClock
    console: Console | None
    timeline: list[dict[str, str]] = field(default_factory=list)
    checks: dict[str, bool] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)

    def tell(self, sentence: str) -> None:
        """Add one sentence to the timeline, and show it."""
        self.timeline.append({"at": self.clock.now().isoformat(), "what": sentence})
        if self.console is not None:
            self.console.print(
                f"{self.clock.now():%d %b %H:%M:%S}  {sentence}", highlight=False, soft_wrap=True
            )

    def check(self, claim: str, holds: bool) -> None:  # noqa: FBT001 - a claim and its truth
        """Note whether `claim` held; one that did not makes the demo fail."""
        self.checks[claim] = holds
        if self.console is not None:
            mark = "[green]holds[/]" if holds else "[bold red]DOES NOT HOLD[/]"
            self.console.print(f"                 {mark}  {claim}", highlight=False)

    @property
    def ok(self) -> bool:
        """Whether every check held."""
        return all(self.checks.values())


@dataclass(slots=True)
class Stage:
    """The parts the story is played on."""

    app: Application
    dsn: str
    clock: VirtualClock
    fcm: FcmEmulator
    portal: PortalEmulator | DataverseEmulator
    relay: Relay

    async def night(self) -> NightlyReport:
        """One nightly run at the clock's instant, and the pushes that had to wait."""
        report = await nightly(night_wiring(self.app, self.dsn, lambda _stage, _facts: None))
        await self.relay.drain()
        return report

    async def later(self, by: timedelta) -> None:
        """Let time pass and deliver what has come due."""
        self.clock.advance(by)
        await self.relay.drain()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[AsyncConnection[Any]]:
        """A connection for one transaction."""
        async with await AsyncConnection.connect(self.dsn) as conn:
            yield conn

    async def reconcile(self) -> ReconciliationReport:
        """Compare both sides of the organisation with a portal, repair, and deliver the repairs."""
        (report,) = await reconcile_all(self.app, self.dsn, "HLF", dry_run=False)
        await self.relay.drain()
        return report


def run_demo(*, mentors: int, as_json: bool) -> int:
    """Play the story; 0 only if everything it shows held."""
    configure_logs(logging.CRITICAL)  # the story is the output; a failure shows in its checks
    engine: EngineSettings = load_settings(EngineSettings)
    given = engine.database_url.get_secret_value() if engine.database_url else None
    console = None if as_json else out()
    if given:
        if console is not None:
            console.print("using DATABASE_URL; it must be an empty database", soft_wrap=True)
        asyncio.run(check_unused(given))
    with database_url_or_embedded(given) as dsn:
        story = asyncio.run(_play(dsn, mentors, console))
    if as_json:
        told = {"ok": story.ok, "counts": story.counts, "checks": story.checks}
        print_json({**told, "timeline": story.timeline})
    elif story.ok:
        out().print("Everything held. Next: `./run test`, or README.md for your own application.")
    else:
        out().print("[bold red]Something did not hold; see above.[/]")
    return 0 if story.ok else 1


async def _play(dsn: str, mentors: int, console: Console | None) -> Story:
    clock = VirtualClock(FIRST_NIGHT - timedelta(hours=2))
    story = Story(clock, console)
    migrations.upgrade(dsn)
    schema.migrations.upgrade(dsn)
    async with staged(dsn, clock) as stage:
        await _sow(stage, story, mentors)
        await _fill_the_portal(stage, story)
        clock.set(FIRST_NIGHT)
        mentor, actor = await _night_with_an_outage(stage, story)
        await _heal(stage, story, mentor, actor)
        await _night_again(stage, story)
        await _renew(stage, story, mentor)
        await _next_night(stage, story)
        await _agree(stage, story)
    return story


@asynccontextmanager
async def staged(
    dsn: str,
    clock: VirtualClock,
    *,
    key: RSAPrivateKey | None = None,
    random: Random | None = None,
    channel: str = WEBHOOK,
) -> AsyncIterator[Stage]:
    """The application in front of emulators, with a relay; `random` is the relay's jitter."""
    key = key or generate_key()
    async with AsyncExitStack() as stack:
        fcm = await stack.enter_async_context(
            FcmEmulator(public_key=key.public_key(), wall=clock.now)
        )
        portal: PortalEmulator | DataverseEmulator = (
            DataverseEmulator(clock=clock)
            if channel == DATAVERSE
            else PortalEmulator(clock=clock, secrets=[SigningSecret.parse(SIGNING_SECRET)])
        )
        await stack.enter_async_context(portal)
        account, _ = service_account(fcm.token_url, key=key)
        settings = ApplicationSettings(**emulated_settings(fcm, portal, json.dumps(account)))
        app = build_app(settings, clock=clock)
        relay = await stack.enter_async_context(Relay(app, dsn, random=random).opened())
        yield Stage(app, dsn, clock, fcm, portal, relay)


def emulated_settings(
    fcm: FcmEmulator, portal: PortalEmulator | DataverseEmulator, account: str
) -> dict[str, Any]:
    """The settings that lead to these emulators."""
    name = "hlf_dataverse" if isinstance(portal, DataverseEmulator) else "hlf_portal"
    return {
        "fcm_base_url": fcm.base_url,
        "fcm_service_account_json": account,
        f"{name}_base_url": portal.base_url,
        f"{name}_token_url": portal.token_url,
        f"{name}_client_id": CLIENT_ID,
        f"{name}_client_secret": CLIENT_SECRET,
        f"{name}_scope": _SCOPE,
        **({} if name == "hlf_dataverse" else {"hlf_portal_webhook_secrets": SIGNING_SECRET}),
    }


async def _sow(stage: Stage, story: Story, mentors: int) -> None:
    await _hold_sweeps(stage, held=True)  # or nobody would be left for the night to pause
    async with stage.opened() as conn:
        sown = await seed(conn, mentors=mentors, now=stage.clock.now(), random=Random(_SEED))  # noqa: S311 - a story, not a secret
    story.counts["sown"] = sown.as_json()
    story.tell(
        f"{sown.mentors} mentors of {sown.organisations} organisations in {sown.chapters} "
        f"chapters, {sown.certificates} certificates, {sown.devices} devices."
    )


async def _hold_sweeps(stage: Stage, *, held: bool) -> None:
    """Hold back the sweep that a change of certificates asks for, or let it go."""
    async with stage.opened() as conn:
        await redrive.set_paused(
            conn, handler=SWEEP, paused=held, actor="demo", why="the night does it in this story"
        )


async def _fill_the_portal(stage: Stage, story: Story) -> None:
    stage.clock.advance(timedelta(minutes=20))
    await stage.relay.drain()
    report = await stage.reconcile()
    story.counts["first_reconciliation"] = report.totals
    story.tell(
        f"First reconciliation: the portal did not know {report.totals.get('missing', 0)} visible "
        "mentors of HLF; they were sent."
    )


async def _night_with_an_outage(stage: Stage, story: Story) -> tuple[UUID, UUID]:
    stage.portal.outage(status=503)
    story.tell("Night. The portal answers 503 to everything from now on.")
    report = await stage.night()
    _tell_night(report, story, "first_night")
    async with stage.opened() as conn:
        chosen = await queries_demo.paused_with_coordinator(conn)
        assert chosen is not None, "the seed has a lapsed mentor with a coordinator"
        mentor, actor = chosen
        text = await queries_demo.alert_of_mentor(conn, mentor, SYNC_PENDING)
        alerts = await queries_demo.open_alerts(conn)
        places = await queries_demo.paused_by_chapter(conn)
    story.counts["paused_by_chapter"] = places
    told = ", ".join(f"{place} {count}" for place, count in places.items())
    story.tell(f"Paused mentors by chapter (a member of two is counted in both): {told}.")
    pending = sum(each["alerts"] for each in alerts if each["type"] == SYNC_PENDING)
    story.counts["alerts_during_outage"] = pending
    story.tell(
        f"The portal did not take {pending} of these changes, so {pending} alerts opened on the "
        f"coordinators' dashboard: “{text}”."
    )
    story.check(
        "pausing did not wait for the portal, and the failed sync opened alerts",
        report.sweep.paused > 0 and pending > 0 and text is not None,
    )
    return mentor, actor


def _tell_night(report: NightlyReport, story: Story, name: str) -> None:
    story.counts[name] = report.as_json()
    total, swept = report.total, report.sweep
    story.tell(
        f"{swept.paused} mentors with a lapsed certificate were paused; their coordinators got "
        f"{swept.groups} notices."
    )
    story.tell(
        f"{total.created} reminders fired for {total.processed} certificate checks; "
        f"{total.skipped} had been told already, {total.missing_coordinator} mentors have no "
        f"coordinator. {report.pushes.success_count} pushes went out, {total.no_token} recipients "
        "have no device and read it in their inbox."
    )
    story.check(f"every step of the run ended well ({name})", not report.failures)


async def _heal(stage: Stage, story: Story, mentor: UUID, actor: UUID) -> None:
    await _hold_sweeps(stage, held=False)
    await stage.later(timedelta(seconds=10))
    stage.portal.heal()
    story.tell("The portal is back.")
    async with stage.opened() as conn:
        now = stage.clock.now()
        retried = await coordinator.retry_sync(
            conn, app=stage.app, mentor_id=mentor, actor_id=actor, now=now
        )
    await stage.relay.drain()
    async with stage.opened() as conn:
        left = await queries_demo.alert_of_mentor(conn, mentor, SYNC_PENDING)
    story.tell(
        f"A coordinator pressed retry for one mentor: {retried.made_due} delivery made due, sent "
        "and confirmed; the alert closed."
    )
    story.check("a manual retry heals one mentor at once", left is None and retried.made_due == 1)
    for wait in (30, 120, 300):
        await stage.later(timedelta(seconds=wait))
    async with stage.opened() as conn:
        alerts = await queries_demo.open_alerts(conn)
    story.tell("The others were retried by the ladder of waits; nobody had to do anything.")
    story.check("all alerts closed by themselves after the portal healed", not alerts)


async def _night_again(stage: Stage, story: Story) -> None:
    async with stage.opened() as conn:
        before = await queries_demo.told_counts(conn)
    sent = len(stage.fcm.deliveries)
    report = await stage.night()
    async with stage.opened() as conn:
        after = await queries_demo.told_counts(conn)
    story.counts["same_night_again"] = report.total.as_json()
    story.tell(
        f"The same night's job was run again: {report.total.created} reminders fired, "
        f"{len(stage.fcm.deliveries) - sent} pushes sent, {report.total.skipped} skipped."
    )
    story.check(
        "running the night twice sends nothing twice",
        len(stage.fcm.deliveries) == sent
        and report.total.created == 0
        and all(before[name] == after[name] for name in _TOLD_ONCE),
    )


async def _renew(stage: Stage, story: Story, mentor: UUID) -> None:
    stage.clock.advance(timedelta(hours=8))
    today = stage.clock.now().date()
    async with stage.opened() as conn:
        await queries_demo.renew_certificate(
            conn,
            mentor,
            issued_on=today,
            expiry_date=today + timedelta(days=730),
            now=stage.clock.now(),
        )
    await stage.relay.drain()
    async with stage.opened() as conn:
        status, version = await queries_demo.status_of_mentor(conn, mentor)
    row = stage.portal.row(mentor)
    story.tell("The same mentor renewed: active again, and visible on the portal.")
    story.check(
        "a renewal lifts the pause and reaches the portal",
        status == "active"
        and row is not None
        and row.stored.visible
        and row.stored.version == version,
    )


async def _next_night(stage: Stage, story: Story) -> None:
    stage.clock.set(FIRST_NIGHT + timedelta(days=1))
    story.tell("Next night; Oslo's clocks change in it.")
    report = await stage.night()
    _tell_night(report, story, "second_night")
    for wait in (15, 30, 60):
        await stage.later(timedelta(seconds=wait))


async def _agree(stage: Stage, story: Story) -> None:
    stage.clock.advance(timedelta(minutes=20))
    report = await stage.reconcile()
    async with stage.opened() as conn:
        told = await queries_demo.told_counts(conn)
        census = await inspection.census(conn, now=stage.clock.sql_now())
    story.counts["reconciliation"] = report.totals
    story.counts["told"] = told
    story.counts["deliveries"] = {each.handler: each.done for each in census}
    totals = ", ".join(f"{count} {name}" for name, count in sorted(report.totals.items()))
    story.tell(f"Reconciliation compared every mentor of HLF with the portal: {totals}.")
    story.check("the portal and the database agree: no drift", report.complete and not report.drift)
    story.check("each inbox row exists exactly once", told["inbox_rows"] == told["inbox_keys"])
    tags = stage.fcm.deliveries_by_tag
    devices = [(tag, each.address) for tag, sent in tags.items() for each in sent]
    story.tell(
        f"{told['inbox_rows']} inbox rows, {told['delivered']} pushes delivered, "
        f"{told['no_token']} recipients without a device, {told['unknown']} unknown, "
        f"{told['failed']} failed."
    )
    story.check("no device got a push twice", len(devices) == len(set(devices)))
    story.check("no push is left open", told["queued"] == 0)
    lost = [each.handler for each in census if each.leased or each.unknown]
    story.check(
        "nothing is lost: no delivery is leased or unknown, none was given up but pushes to "
        "devices that are gone",
        not lost and told["dead_for_other_reasons"] == 0,
    )
