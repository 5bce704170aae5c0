"""No name, date, address, token or secret of anybody reaches what operators read (PII-4, T2.11).

Everything personal or secret is a marker here. The whole application then has a bad night: pushes
fail in every way, the portal refuses, the database refuses rows and quotes them in its errors,
people ask over HTTP with what they should not. Afterwards every log line, span, receipt, dead
letter, report, summary, audit row and screen is searched for every marker.
"""

from __future__ import annotations

import io
import json
import logging
import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4

import psycopg
import pytest
import structlog
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from handlers.emulators.fcm import service_account
from handlers.emulators.portal import CLIENT_SECRET
from outbox.logs import configure_logs
from sagas.commands import reconcile_all
from sagas.demo import SIGNING_SECRET, emulated_settings
from sagas.reconcile import csv_rows
from tests.end_to_end.cli import Terminal
from tests.end_to_end.scene import key
from tests.http.front import HOOK_SECRET, SECRET, Front, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sagas.run import Organisation

NAME: Final = "Markernavn"
MAIL: Final = "marker.adresse@example.org"
PHONE: Final = "+4790012345"
NUMBER: Final = "cert-no-4711-marker"
REASON: Final = "markeryk"
ADDRESS: Final = "marker-address"
DAYS: Final = (60, 30, 14, 7, -3)

SEARCHED: Final = (
    "outbox.receipt", "outbox.dead_letter", "outbox.delivery", "outbox.message", "outbox.saga",
    "outbox.saga_transition", "outbox.operation", "outbox.relay", "outbox.destination",
    "public.job_runs", "public.reconciliation_reports", "public.reconciliation_items",
    "public.audit_log", "public.dashboard_alerts", "public.data_quality_findings",
    "public.credential_checks", "public.portal_sync_state", "public.notification_groups",
)  # fmt: skip
"""What operators, reports and the engine keep. The people's own tables hold what is theirs."""


@dataclass
class Kept:
    """What was said and stored, by where it was found."""

    texts: dict[str, str] = field(default_factory=dict)

    def add(self, place: str, text: object) -> None:
        """Keep one more text."""
        self.texts[place] = self.texts.get(place, "") + f"{text}\n"

    def holding(self, markers: list[str]) -> list[tuple[str, str, str]]:
        """Where each marker stands, with what is around it."""
        return [
            (place, marker, text[max(0, at - 80) : at + 80])
            for place, text in self.texts.items()
            for marker in markers
            if (at := text.find(marker)) >= 0
        ]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """A provider for this test alone."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(otel, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


@pytest.fixture
def production_logs(caplog: pytest.LogCaptureFixture) -> Iterator[io.StringIO]:
    """Our lines as a process writes them, and all libraries at their most talkative."""
    before, lines = structlog.get_config(), io.StringIO()
    configure_logs(logging.DEBUG, form="json")
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=lines))
    with caplog.at_level(logging.DEBUG):
        yield lines
    structlog.configure(**before)


async def sow(front: Front) -> tuple[Organisation, list[UUID], UUID]:
    """People whose every word is a marker; a device of each way to fail; their coordinator."""
    world = front.scene.world
    await world.conn.execute(
        "alter table peer_mentors add column display_name text, add phone text"
    )
    await world.conn.execute("alter table certifications add column number text")
    organisation = await world.organisation()
    await world.conn.execute("update organisations set name = %s", [f"{NAME}-laget"])
    chapter = await world.chapter(organisation, f"{NAME}-by")
    coordinator = await world.coordinator(organisation, chapter, device=False)
    ways = ("ok", "unreg", "badtok", "down", "html", "drop", "quota", "apns", "flaky2")
    mentors = []
    for place, way in enumerate(ways):
        mentor = await world.mentor(
            organisation, chapter, days=DAYS[place % len(DAYS)], device=False
        )
        mentors.append(mentor)
        await world.conn.execute(
            "insert into device_tokens (user_id, address, last_seen_at) values (%s, %s, %s)",
            [mentor, f"{way}-{ADDRESS}-{place}", world.now],
        )
        await world.conn.execute(
            "insert into auth.users (id, email) values (%s, %s)", [mentor, MAIL]
        )
    await world.conn.execute(
        "update peer_mentors set display_name = %s, phone = %s", [f"{NAME} {NAME}sen", PHONE]
    )
    await world.conn.execute("update certifications set number = %s", [NUMBER])
    return organisation, mentors, coordinator


def dates(front: Front, organisation: Organisation) -> list[str]:
    """The last valid days, and the days after on which visibility ends."""
    days = [front.scene.world.day(organisation, days) for days in DAYS]
    return [day.isoformat() for day in days]


async def bad_night(front: Front, mentors: list[UUID]) -> None:
    """Pushes, portal and database all refuse, some of it for good."""
    scene, conn = front.scene, front.scene.world.conn
    scene.portal.outage()
    # the server quotes the row in the DETAIL of its error, name of the constraint and all
    for table, mentor in (("notifications", mentors[3]), ("cert_notification_log", mentors[1])):
        await conn.execute(
            f"alter table {table} add constraint planted_{table} check (mentor_id <> '{mentor}')"
        )
    for _ in range(2):
        await scene.night()
        for wait in (15, 60, 300, 3_600):
            await scene.later(seconds=wait)
    await conn.execute("alter table notifications drop constraint planted_notifications")
    scene.portal.reject_credentials()
    await scene.bump(mentors[0])
    await scene.later(seconds=30)
    scene.portal.heal()
    await scene.later(hours=1)


async def ask_badly(front: Front, mentors: list[UUID], coordinator: UUID) -> list[str]:
    """Requests of every way to fail; the tokens they carried."""
    mine = token(mentors[0], email=MAIL)
    used = [mine, token(coordinator), token(mentors[0], exp=int(time.time()) - 9),
            token(None, secret=f"{SECRET}-another")]  # fmt: skip
    for bearer in used:
        head = {"Authorization": f"Bearer {bearer}", "X-Request-ID": f"{NAME} {PHONE}"}
        for method, path, body in (
            ("GET", "/me/notifications", None),
            ("GET", f"/me/{NAME}?mail={MAIL}", None),
            ("GET", f"/me/notifications?before={MAIL}", None),
            ("PUT", "/me/devices", {"address": f"ok-{ADDRESS} with a blank"}),
            ("PUT", "/me/devices", {"address": f"ok-{ADDRESS}-new", "platform": NAME}),
            ("PUT", "/me/devices", {"address": f"ok-{ADDRESS}-new"}),
            ("POST", f"/mentors/{mentors[5]}/pause", {"reason": f"{REASON} {NAME}"}),
            ("POST", f"/mentors/{mentors[0]}/pause", {"reason": REASON, NAME: MAIL}),
            ("POST", f"/mentors/{mentors[0]}/reactivate", {"reason": REASON}),
            ("POST", f"/mentors/{uuid4()}/pause", {"reason": REASON}),
            ("POST", f"/mentors/{mentors[0]}/sync/retry", None),
            ("POST", f"/mentors/{mentors[0]}/sync/force", None),
            ("POST", "/functions/v1/send-push-notifications",
             {"payload": {"kind": "mentor_paused", "mentor_id": str(mentors[5]), "title": NAME},
              "tokens": [f"{ADDRESS}-unknown"]}),
            ("GET", "/reports/reconciliation", None),
            ("GET", "/reports/data-quality", None),
        ):  # fmt: skip
            await front.http.request(method, path, json=body, headers=head)
        await front.http.put("/me/devices", content=NAME.encode(), headers=head)
    await front.http.post(
        "/internal/hooks/visibility", headers={"X-Hook-Secret": f"{HOOK_SECRET}x"}
    )
    await front.http.post("/internal/hooks/visibility", headers={"X-Hook-Secret": HOOK_SECRET})
    return used


@asynccontextmanager
async def refusing(front: Front) -> AsyncIterator[None]:
    """The database refuses devices and pauses, with texts that quote what was written."""
    conn = front.scene.world.conn
    await conn.execute("alter table device_tokens add constraint planted check (false) not valid")
    await conn.execute(
        "alter table mentor_status_history add constraint planted check (false) not valid"
    )
    yield
    await conn.execute("alter table device_tokens drop constraint planted")
    await conn.execute("alter table mentor_status_history drop constraint planted")


async def screens(front: Front, folder: Path, kept: Kept) -> None:
    """What the commands of operators print, on a terminal and as JSON."""
    scene = front.scene
    account, _ = service_account(scene.fcm.token_url, key=key())
    env = {
        name.upper(): str(value)
        for name, value in emulated_settings(scene.fcm, scene.portal, json.dumps(account)).items()
    }
    env |= {
        "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "OUTBOX_APP": "sagas.app:app",
        "DATABASE_URL": scene.world.dsn, "API_JWT_SECRET": SECRET, "API_HOOK_SECRET": HOOK_SECRET,
    }  # fmt: skip
    terminal = Terminal(folder, env)
    for command in (
        ("config",), ("status",), ("status", "--json"), ("dead", "list"), ("dead", "groups"),
        ("unknown", "list"), ("doctor",), ("saga", "list"), ("saga", "show", "1"), ("health",),
        ("explain", "1"), ("explain", "--message", "1"), ("route", "list"), ("prune", "--dry-run"),
        ("reconcile",), ("reconcile", "--format", "csv"), ("reconcile", "--format", "json"),
        ("sweep",), ("--verbose", "nightly"), ("nightly", "--json"),
    ):  # fmt: skip
        ran = await terminal.run(*command)
        kept.add(f"screen: {' '.join(command)}", ran.out + ran.err)


async def stored(front: Front, kept: Kept) -> None:
    """Every row that operators or reports read."""
    for table in SEARCHED:
        rows = await front.scene.world.rows(f"select t::text as row from {table} as t")
        for row in rows:
            kept.add(table, row["row"])


@pytest.mark.slow
async def test_t2_11_no_marker_is_found_anywhere(
    database: str,
    tmp_path: Path,
    spans: InMemorySpanExporter,
    production_logs: io.StringIO,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """PII-1, PII-2, PII-4, LOG-1, SEC-1, SEC-3, SEC-4: ids and codes, and every line is JSON."""
    kept = Kept()
    async with Front.of(database) as front:
        organisation, mentors, coordinator = await sow(front)
        markers = dates(front, organisation)
        await bad_night(front, mentors)
        used = await ask_badly(front, mentors, coordinator)
        async with refusing(front):
            used += await ask_badly(front, mentors, coordinator)
        await front.scene.drain()
        for report in await reconcile_all(front.scene.stage.app, database, None, dry_run=False):
            kept.add("report", report.model_dump_json())
            kept.add("report as csv", "".join(csv_rows(report)))
        await screens(front, tmp_path, kept)
        await stored(front, kept)
        account, _ = service_account(front.scene.fcm.token_url, key=key())
    out, err = capfd.readouterr()
    kept.add("stdout", out)
    kept.add("stderr", err)
    kept.add("log", production_logs.getvalue())
    for record in caplog.records:
        if "http://surface/" in record.getMessage():
            continue  # said by the client that asks here, which is nobody of ours
        kept.add("log of libraries", f"{record.getMessage()} {record.exc_info} {record.args}")
    for span in spans.get_finished_spans():
        kept.add("span", span.to_json())

    said = {json.loads(line)["event"] for line in production_logs.getvalue().splitlines()}
    assert {
        "http.answered", "push.failed", "push.unknown", "device.invalidated", "group.refused",
        "delivery.settled", "audit.recorded", "sweep.completed", "reconciliation.completed",
        "http.failed",
    } <= said, said  # fmt: skip
    assert kept.texts["span"]
    assert kept.texts["outbox.dead_letter"]
    assert kept.texts["outbox.receipt"]
    pem = "".join(account["private_key"].splitlines()[1:3])
    markers += [
        NAME, MAIL, PHONE, NUMBER, REASON, ADDRESS, SECRET, HOOK_SECRET, CLIENT_SECRET,
        SIGNING_SECRET, SIGNING_SECRET.removeprefix("whsec_"), pem[:40], "of-the-tests",
        "planted", *used, *(one.rpartition(".")[2] for one in used),
        "emulated-",
    ]  # fmt: skip
    assert kept.holding(markers) == []


async def test_the_search_would_find_one(database: str) -> None:
    """The test above passes on an empty haystack, too."""
    kept = Kept()
    with psycopg.connect(database) as conn:
        try:
            conn.execute(f"select '{NAME}'::integer".encode())
        except psycopg.DataError as error:
            kept.add("error", error)

    ((place, marker, around),) = kept.holding([NAME, MAIL])
    assert (place, marker) == ("error", NAME)
    assert NAME in around
