"""Every command in a process of its own, on a real database: what it says and how it ends."""

from __future__ import annotations

import csv
import io
import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest
import pytest_asyncio

import outbox.migrations
import schema.shim
from handlers.emulators.dataverse import DataverseEmulator
from handlers.emulators.fcm import FcmEmulator, service_account
from handlers.emulators.portal import PortalEmulator
from handlers.emulators.portal_faults import Route
from handlers.portal import SigningSecret
from handlers.ports import DATAVERSE, WEBHOOK
from sagas.demo import SIGNING_SECRET, emulated_settings
from tests.end_to_end.cli import Terminal
from tests.end_to_end.scene import key
from tests.sagas.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sagas.run import Organisation
    from tests.conftest import Server

NOBODY = UUID(int=4711)
NOWHERE = "postgresql://operator:hunter2@127.0.0.1:1/nowhere"
BARE = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


@dataclass
class Desk:
    """An operator's desk: a terminal, the database behind it, and the world outside."""

    terminal: Terminal
    world: World
    fcm: FcmEmulator
    portal: PortalEmulator | DataverseEmulator
    organisation: Organisation

    async def run(self, *args: object, **env: str | None) -> Any:
        """Run a command."""
        return await self.terminal.run(*args, **env)

    async def json(self, *args: object, code: int = 0) -> Any:
        """Run a command with `--json`; its one document."""
        ran = await self.terminal.run(*args, "--json")
        assert ran.code == code, ran.err
        return ran.document()

    async def mentor(self, days: int) -> tuple[UUID, UUID]:
        """A mentor of a chapter of his own, with a coordinator."""
        chapter = await self.world.chapter(self.organisation, f"chapter {uuid4()}")
        mentor = await self.world.mentor(self.organisation, chapter, days=days)
        return mentor, await self.world.coordinator(self.organisation, chapter)

    async def waiting(self, mentor: UUID) -> tuple[int, bool]:
        """A mentor's portal delivery, and whether it is due already."""
        (row,) = await self.world.rows(
            "select id, due_at is null or due_at <= now() as due from outbox.delivery"
            " where handler = 'portal' and key = %s",
            f"mentor:{mentor}",
        )
        return row["id"], row["due"]

    async def put_off(self, mentor: UUID) -> None:
        """Let its next try be an hour away, as after many, however long the commands here take."""
        await self.world.rows(
            "update outbox.delivery set due_at = now() + interval '1 hour'"
            " where handler = 'portal' and key = %s returning id",
            f"mentor:{mentor}",
        )

    async def audited(self) -> tuple[str, str, str]:
        """Action, role and outcome of the newest audit row."""
        (row,) = await self.world.rows(
            "select action, actor_role, after ->> 'outcome' as outcome from audit_log"
            " order by id desc limit 1"
        )
        return row["action"], row["actor_role"], row["outcome"]


@asynccontextmanager
async def desk_on(dsn: str, folder: Path, *, channel: str = WEBHOOK) -> AsyncIterator[Desk]:
    """A desk on a migrated database, in real time."""
    receiver: PortalEmulator | DataverseEmulator = (
        DataverseEmulator()
        if channel == DATAVERSE
        else PortalEmulator(secrets=[SigningSecret.parse(SIGNING_SECRET)])
    )
    async with (
        FcmEmulator(public_key=key().public_key()) as fcm,
        receiver as portal,
        World.on(dsn) as world,
    ):
        world.channel = channel
        account, _ = service_account(fcm.token_url, key=key())
        given = emulated_settings(fcm, portal, json.dumps(account))
        env = {**BARE, "DATABASE_URL": dsn} | {
            name.upper(): str(value) for name, value in given.items()
        }
        await world.at(datetime.now(UTC))
        organisation = await world.organisation()
        yield Desk(Terminal(folder, env), world, fcm, portal, organisation)


@pytest_asyncio.fixture
async def desk(database: str, tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk of its own for each test."""
    async with desk_on(database, tmp_path) as desk:
        yield desk


async def test_migrate_goes_up_and_down_and_up_again(empty_database: str, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, {**BARE, "DATABASE_URL": empty_database})
    up = await terminal.start("migrate")
    again = await terminal.run("migrate")
    assert up.code == again.code == 0
    assert up.out == again.out
    assert [line.partition(":")[0] for line in up.out.splitlines()] == [
        "outbox.revision", "app.outbox_application_version"
    ]  # fmt: skip
    assert (await terminal.run("status", "--json")).code == 0

    down = await terminal.run("migrate", "--down", "base")
    assert down.code == 0
    assert all(line.endswith(": at nothing") for line in down.out.splitlines())
    assert "run `outbox migrate`" in (await terminal.run("status")).complaint()
    assert (await terminal.run("migrate")).code == 0
    unknown = await terminal.run("migrate", "--down", "9999")
    assert (unknown.code, "9999" in unknown.complaint()) == (2, True)


async def test_migrate_prints_the_sql_that_it_would_run(
    empty_database: str, tmp_path: Path
) -> None:
    """Printed without a database; run by hand on one, it leaves what `migrate` leaves."""
    terminal = Terminal(tmp_path, BARE)
    ran = await terminal.run("migrate", "--sql")
    assert ran.code == 0

    schema.shim.apply(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as conn:
        for part in re.split(r"(?m)^(?:BEGIN|COMMIT);$", ran.out):  # as psql would: some are alone
            conn.execute(part.encode())
    assert (await terminal.run("sweep", DATABASE_URL=empty_database)).code == 0
    down = await terminal.run("migrate", "--down", "base", DATABASE_URL=empty_database)
    assert down.code == 0


async def test_the_night_from_the_command_line(desk: Desk) -> None:
    """RES-4, OPS-2: one document, then the same night again with nothing to do."""
    for days in (30, 7, -1):
        await desk.mentor(days)

    first = await desk.json("nightly")
    again = await desk.json("nightly")

    assert first["outcome"] == again["outcome"] == "completed"
    assert first["credentials"] == {
        "fcm": "accepted", "portal": "accepted", "portal_read": "accepted"
    }  # fmt: skip
    assert first["sweep"]["paused"] == 1
    assert (first["total"]["created"], again["total"]["created"]) == (5, 0)
    assert first["pushes"] == {"successCount": 6, "failureCount": 0, "skippedCount": 0}
    assert len(desk.fcm.deliveries) == 6
    swept = await desk.json("sweep")
    assert (swept["paused"], swept["failures"]) == (0, {})
    told = await desk.run("nightly", "--as-of", "2030-01-01T00:05:00+01:00")
    assert told.code == 0
    assert told.out.startswith("nightly completed\n")


async def test_two_nights_at_once_in_two_processes(desk: Desk) -> None:
    """T0.9: the second process ends cleanly, and nobody is pushed twice."""
    import asyncio  # noqa: PLC0415 - the one place that runs two

    for _ in range(5):
        await desk.mentor(7)
    desk.fcm.latency_seconds = 0.1

    ran = await asyncio.gather(*(desk.run("nightly", "--json") for _ in range(2)))

    assert [each.code for each in ran] == [0, 0]
    outcomes = sorted(each.document()["outcome"] for each in ran)
    assert outcomes in (["already_running", "completed"], ["completed", "completed"])
    pushed = [(push.tag, push.address) for push in desk.fcm.deliveries]
    assert len(set(pushed)) == len(pushed) == 10


async def test_retry_asks_for_rights_acts_and_is_audited(desk: Desk) -> None:
    """SYN-8, AUD-1, VIS-2: a coordinator of another chapter changes nothing, and is on record."""
    mentor, coordinator = await desk.mentor(-1)
    _, stranger = await desk.mentor(100)
    desk.portal.outage(status=503)
    assert (await desk.run("nightly")).code == 0
    await desk.put_off(mentor)
    delivery, due = await desk.waiting(mentor)
    assert not due

    for form in (("--mentor", mentor), ("--delivery", delivery), ("--all-dead",)):
        refused = await desk.run("retry", *form, "--actor", stranger)
        assert (refused.code, "is not allowed" in refused.complaint()) == (1, True)
        assert (await desk.audited())[1:] == ("none", "refused")
    assert await desk.waiting(mentor) == (delivery, False)

    dry = await desk.json("retry", "--delivery", delivery, "--actor", coordinator, "--dry-run")
    assert dry == {"made_due": 1, "redriven": 0, "dry_run": True}
    assert await desk.audited() == ("delivery.retry", "coordinator", "dry_run")
    assert await desk.waiting(mentor) == (delivery, False)

    done = await desk.run("retry", "--delivery", delivery, "--actor", coordinator)
    assert (done.code, done.out) == (0, "1 waiting made due, 0 dead redriven\n")
    assert await desk.audited() == ("delivery.retry", "coordinator", "done")
    assert await desk.waiting(mentor) == (delivery, True)
    clicked = [
        await desk.json("retry", "--mentor", mentor, "--actor", coordinator) for _ in range(2)
    ]
    assert [each["repeated"] for each in clicked] == [False, True]


async def test_dead_letters_rise_again(desk: Desk) -> None:
    """`retry --all-dead` is for administrators of all; `explain` tells each state on the way."""
    mentor, coordinator = await desk.mentor(-1)
    boss = await desk.world.coordinator(desk.organisation, role="hlf_admin")
    desk.portal.deny(mentor)
    await desk.json("nightly")
    dead = await desk.world.value("select delivery_id from outbox.dead_letter")
    told = await desk.json("explain", dead)
    assert told["state"] == "dead"
    assert "(unknown_mentor)" in told["reason"]

    refused = await desk.run("retry", "--all-dead", "--actor", coordinator)
    assert refused.code == 1
    counted = await desk.json("retry", "--all-dead", "--actor", boss, "--dry-run")
    assert counted == {"made_due": 0, "redriven": 1, "dry_run": True}
    desk.portal.admit(mentor)
    risen = await desk.json("retry", "--all-dead", "--actor", boss)
    assert risen == {"made_due": 0, "redriven": 1, "dry_run": False}
    waits = await desk.json("explain", dead)
    assert (waits["state"], waits["delivery_id"]) == ("no relay", dead)

    drained = await desk.run("relay", "--drain")
    assert drained.code == 0
    assert "deliveries tried; nothing is due" in drained.err
    assert (await desk.json("explain", dead))["state"] == "done"
    row = desk.portal.row(mentor)
    assert row is not None
    assert row.stored.visible is False


async def test_dead_letters_by_the_way_they_failed(desk: Desk) -> None:
    """Looked at, closed, counted, and raised: one first, then the rest."""
    boss = await desk.world.coordinator(desk.organisation, role="hlf_admin")
    mentors = [(await desk.mentor(-1))[0] for _ in range(4)]
    for mentor in mentors:
        desk.portal.deny(mentor)
    await desk.json("nightly")
    (group,) = await desk.json("dead", "groups")
    named = group["failure_group"]
    letters = [one["delivery_id"] for one in await desk.json("dead", "list", "--group", named)]
    assert (group["handler"], group["letters"], len(letters)) == ("portal", 4, 4)
    assert group["reason"] in (await desk.run("dead", "groups", "--handler", "portal")).out
    assert str(letters[0]) in (await desk.run("dead", "list", "--since", "1h")).out
    assert await desk.json("dead", "list", "--handler", "fcm") == []
    assert (await desk.run("dead", "list", "--handler", "fcm")).out == "no dead letters of these\n"
    assert (await desk.run("dead", "groups", "--handler", "fcm")).out == "no dead letters of fcm\n"
    assert (await desk.run("unknown", "list")).out == "no unknown outcomes\n"
    assert (await desk.run("saga", "list", "--name", "x")).out == "no instances of x\n"

    closing = ("dead", "dismiss", "--delivery", letters[0], "--actor", "op", "--why", "has left")
    assert (await desk.run(*closing, "--dry-run")).out == "1 dead letters would be dismissed\n"
    closed = await desk.json(*closing)
    assert (closed["found"], closed["raised"]) == (1, [letters[0]])
    again = await desk.run(*closing)
    assert (again.code, f"no dead letter (any more): {letters[0]}" in again.complaint()) == (
        1,
        True,
    )
    assert "settled as withdrawn (dismissed)" in (await desk.run("explain", letters[0])).out

    asked = await desk.json("retry", "--failure-group", named, "--actor", boss, "--dry-run")
    assert asked == {"made_due": 0, "redriven": 3, "dry_run": True}
    risen = await desk.run("retry", "--failure-group", named, "--actor", boss)
    assert (risen.code, risen.out) == (0, "0 waiting made due, 3 dead redriven\n")
    assert await desk.audited() == ("dead.retry_group", "hlf_admin", "done")
    assert (await desk.run("relay", "--drain")).code == 0  # and they die again

    for mentor in mentors:
        desk.portal.admit(mentor)
    every = ("redrive", "--group", named, "--actor", "op", "--why", "admitted")
    counted = await desk.json(*every, "--dry-run")
    assert (counted["found"], counted["operation_id"], counted["raised"]) == (3, None, [])
    assert (await desk.run(*every, "--dry-run")).out.startswith("portal: 3 ready, 0 withdrawn")
    begun = await desk.run(*every, "--canary", "--pace", "50/s")
    assert begun.code == 0
    assert "1 of 3 redriven now" in begun.out
    assert "relays redrive the other 2 when it was done" in " ".join(begun.out.split())
    assert (await desk.run("relay", "--drain")).code == 0
    assert await desk.json("dead", "list") == []


async def test_unknown_outcomes_are_listed_and_resolved(desk: Desk) -> None:
    """A push whose connection broke after it was sent; a person finds out what became of it."""
    mentor, _ = await desk.mentor(7)
    await desk.world.rows(
        "update device_tokens set address = 'drop-1' where user_id = %s returning id", mentor
    )
    await desk.json("nightly")
    (held,) = await desk.json("unknown", "list")
    delivery = held["delivery_id"]
    assert (held["handler"], held["reason"]) == ("fcm", "fcm_connection_lost")
    assert str(delivery) in (await desk.run("unknown", "list", "--handler", "fcm")).out

    act = ("unknown", "resolve", delivery, "--as", "delivered", "--actor", "op", "--why", "asked")
    assert (await desk.json(*act)) == {
        "resolved": [delivery], "not_held": [], "as": "delivered"
    }  # fmt: skip
    assert await desk.json("unknown", "list") == []
    assert (await desk.json("explain", delivery))["state"] == "done"
    perhaps = await desk.run("unknown", "resolve", delivery, "--as", "perhaps", "--actor", "op")
    assert (perhaps.code, "'delivered', 'not-delivered'" in perhaps.err) == (2, True)
    again = await desk.run(*act)
    assert (again.code, f"not held as unknown (any more): {delivery}" in again.err) == (1, True)


async def test_routes_backfill_and_prune(desk: Desk) -> None:
    """A route is dropped with what waits; what was published meanwhile is given back."""
    mentors = [await desk.mentor(100) for _ in range(2)]
    syncs = [("force-sync", mentor, "--actor", coordinator) for mentor, coordinator in mentors]
    await desk.run("pause", "portal", "--why", "it moves house", "--actor", "op")
    await desk.json(*syncs[0])
    routes = {(one["topic"], one["handler"]): one for one in await desk.json("route", "list")}
    assert routes["visibility.changed", "portal"]["waiting"] == 1
    assert "visibility.changed" in (await desk.run("route", "list")).out

    drop = ("route", "drop", "visibility.changed", "portal", "--actor", "op")
    refused = await desk.run(*drop)
    assert refused.code == 1
    assert refused.complaint().startswith("1 deliveries of visibility.changed wait for portal")
    assert await desk.json(*drop, "--withdraw") == {
        "was_there": True, "withdrawn": 1, "left": 0
    }  # fmt: skip
    await desk.json(*syncs[1])  # nobody tells the portal of this one

    past = ("backfill", "portal", "--since", "2020-01-01T00:00:00Z")
    dry = await desk.run(*past, "--dry-run")
    assert dry.out.startswith("portal would be given 1 messages")
    assert (await desk.json(*past))["sent"] == 1
    assert (await desk.json(*past))["sent"] == 0
    await desk.run("resume", "portal", "--actor", "op")
    running = await desk.run(*past)
    assert (running.code, "run `outbox pause portal` first" in running.complaint()) == (1, True)
    assert (await desk.run("relay", "--drain")).code == 0
    rows = [desk.portal.row(mentor) for mentor, _ in mentors]
    assert [row and row.stored.version for row in rows] == [None, 1]

    pruned = await desk.json("prune", "--dry-run")
    assert (pruned["dry_run"], pruned["gone"]["messages"]) == (True, 0)
    assert (await desk.run("prune")).out.startswith("deleted: 0 messages")


@pytest.mark.parametrize(
    ("args", "code", "complaint"),
    [
        (("retry", "--actor", NOBODY), 2, "--failure-group ID or --all-dead"),
        (("retry", "--actor", NOBODY, "--delivery", 1, "--all-dead"), 2, "give one of"),
        (("retry", "--actor", NOBODY, "--mentor", NOBODY, "--dry-run"), 2, "does not go with"),
        (("retry", "--actor", NOBODY, "--mentor", NOBODY), 1, "there is no mentor"),
        (("retry", "--actor", NOBODY, "--delivery", 4711), 1, "delivery 4711 is nothing"),
        (("force-sync", NOBODY, "--actor", NOBODY), 1, "there is no mentor"),
        (("dead", "list", "--since", "lately"), 2, "neither like 90m, 12h or 7d"),
        (("dead", "list", "--since", "999999999d"), 2, "neither like 90m, 12h or 7d"),
        (("dead", "list", "--since", "\u00b2d"), 2, "neither like 90m, 12h or 7d"),
        (("dead", "dismiss", "--actor", "me", "--why", "x"), 2, "neither of --delivery ID"),
        (("redrive", "--actor", "me"), 2, "give one of --delivery ID, --group ID"),
        (("redrive", "--actor", "me", "--all", "--since", "1h"), 2, "goes with --handler"),
        (("redrive", "--actor", "me", "--all", "--pace", "fast"), 2, "is not like 20/s"),
        (("redrive", "--actor", "me", "--group", "abc"), 1, "group 'abc' has no dead letters"),
        (("backfill", "nobody", "--since", "2026-03-02T00:00:00Z"), 2, "no handler 'nobody'"),
        (("backfill", "fcm", "--since", "lately"), 2, "is no instant"),
        (("route", "drop", "no.topic", "fcm", "--actor", "me"), 2, "has no route to fcm"),
        (("explain", 4711), 1, "there is no delivery 4711"),
        (("saga", "show", 4711), 1, "there is no saga 4711"),
        (("pause", "nobody", "--why", "x", "--actor", "me"), 2, "there is no handler 'nobody'"),
        (("relay", "--only", "nobody,fcm"), 2, "no handler nobody; there are alerts, fcm"),
        (("relay", "--transport", "pigeon"), 2, "there is no transport 'pigeon'"),
        (("reconcile",), 2, "the database has no organisation to compare"),
        (("nightly", "--as-of", "2026-03-02T00:05:00"), 2, "has no zone"),
        (("nightly", "--as-of", "yesterday"), 2, "is no instant"),
    ],
    ids=lambda value: None if not isinstance(value, tuple) else " ".join(map(str, value))[:24],
)
async def test_what_cannot_be_done_is_told_in_one_line(
    migrated: Terminal, args: tuple[object, ...], code: int, complaint: str
) -> None:
    ran = await migrated.run(*args)
    assert (ran.code, complaint in ran.complaint()) == (code, True), ran


@pytest.fixture(scope="module")
def migrated(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A terminal on a migrated database that nobody changes."""
    with server.fresh(migrated=True) as dsn:
        yield Terminal(tmp_path_factory.mktemp("terminal"), {**BARE, "DATABASE_URL": dsn})


@pytest.mark.parametrize(
    ("url", "code", "complaint"),
    [
        (NOWHERE, 1, "cannot reach the database at 127.0.0.1:1/nowhere: nothing listens there"),
        (None, 2, "DATABASE_URL is not set"),
        ("", 2, "DATABASE_URL is not set"),
        ("mysql://operator:hunter2@localhost/x", 2, "its scheme is 'mysql'"),
        ("operator:hunter2@localhost/x", 2, "must look like postgresql://"),
    ],
    ids=["closed port", "missing", "empty", "scheme", "no scheme"],
)
async def test_a_database_that_cannot_be_used_is_told_by_every_command(
    tmp_path: Path, url: str | None, code: int, complaint: str
) -> None:
    """P12: one line, the right exit code, and no password in it."""
    terminal = Terminal(tmp_path, BARE)
    person = uuid4()
    for command in (
        ("status", "--json"),
        ("nightly", "--json"),
        ("relay", "--drain"),
        ("retry", "--mentor", person, "--actor", person),
        ("health",),
        ("migrate",),
        ("reconcile",),
    ):
        ran = await terminal.run(*command, DATABASE_URL=url)
        assert (ran.code, complaint in ran.complaint()) == (code, True), (command, ran)
        assert "hunter2" not in ran.err


async def test_a_database_not_migrated_or_half_migrated(
    empty_database: str, tmp_path: Path
) -> None:
    """Neither the engine's tables nor the application's may be missing unsaid."""
    terminal = Terminal(tmp_path, {**BARE, "DATABASE_URL": empty_database})
    commands = (("nightly", "--json"), ("relay", "--drain"), ("status",), ("sweep",))
    for command in commands:
        ran = await terminal.run(*command)
        assert (ran.code, "run `outbox migrate`" in ran.complaint()) == (1, True), (command, ran)

    outbox.migrations.upgrade(empty_database)
    for command in (("nightly", "--json"), ("sweep",), ("reconcile",)):
        ran = await terminal.run(*command)
        assert (ran.code, "run `outbox migrate`" in ran.complaint()) == (1, True), (command, ran)


async def test_a_role_or_password_that_is_wrong(database: str, tmp_path: Path) -> None:
    """The server's refusal is told without the password."""
    url = database.replace("postgres@", "nobody:hunter2@").replace("postgres:", "nobody:")
    ran = await Terminal(tmp_path, BARE).run("status", DATABASE_URL=url)
    assert ran.code == 1
    assert "cannot reach the database" in ran.complaint()
    assert "hunter2" not in ran.err


async def test_force_sync(desk: Desk) -> None:
    """SYN-9: a new version of the same state, also when nothing is pending."""
    mentor, coordinator = await desk.mentor(100)
    _, stranger = await desk.mentor(100)
    refused = await desk.run("force-sync", mentor, "--actor", stranger)
    assert refused.code == 1
    assert await desk.audited() == ("sync.force", "none", "refused")
    assert desk.portal.log == []

    forced = await desk.json("force-sync", mentor, "--actor", coordinator)
    assert forced == {"mentor_id": str(mentor), "version": 1, "repeated": False}
    assert (await desk.run("relay", "--drain", "--only", "portal,visibility,alerts")).code == 0
    row = desk.portal.row(mentor)
    assert row is not None
    assert (row.stored.version, row.stored.visible) == (1, True)


async def test_reconcile_ends_with_what_it_found(desk: Desk) -> None:
    """RCN-4: 3 drift, 0 none, 4 incomplete; the same report as table, JSON, CSV and page."""
    mentor, _ = await desk.mentor(100)
    (missing,) = await desk.json("reconcile", "--dry-run", code=3)
    assert missing["totals"] == {"missing": 1}
    assert (missing["repaired"], missing["items"][0]["action"]) == (0, "planned_resend")

    as_csv = await desk.run("reconcile", "--dry-run", "--format", "csv")
    assert as_csv.code == 3
    (row,) = csv.DictReader(io.StringIO(as_csv.out))
    assert (row["mentor_id"], row["verdict"]) == (str(mentor), "missing")
    as_page = await desk.run("reconcile", "--dry-run", "--format", "html", "--language", "en")
    assert (as_page.code, as_page.out.startswith("<!doctype html>")) == (3, True)
    assert f'<td class="id">{mentor}</td><td>Missing on the portal</td>' in as_page.out
    repaired = await desk.run("reconcile")
    assert (repaired.code, str(mentor) in repaired.out) == (3, True)
    assert "1 re-sent" in repaired.out
    assert (await desk.run("relay", "--drain")).code == 0

    strange = await desk.run("reconcile", "--format", "html", "--language", "fr")
    assert (strange.code, "is not one of 'nb', 'en'" in strange.err) == (2, True)
    nowhere = await desk.run("reconcile", HLF_PORTAL_BASE_URL=None)
    assert nowhere.complaint() == "portal_not_configured (set HLF_PORTAL_BASE_URL)"
    nobody = await desk.run("reconcile", "--organisation", "XYZ")
    assert nobody.code == 2
    assert nobody.complaint() == "no organisation has the code 'XYZ'; there are HLF"
    (equal,) = await desk.json("reconcile", "--organisation", "HLF")
    assert (equal["totals"], equal["complete"]) == ({"in_sync": 1}, True)
    desk.portal.script(status=503, times=None, routes=(Route.LIST,))
    (broken,) = await desk.json("reconcile", code=4)
    assert broken["complete"] is False
    assert broken["repaired"] == 0


async def test_the_csv_of_several_organisations_is_one_table(desk: Desk) -> None:
    """RCN-4: one header, and no line without a row; each mentor stands there once."""
    there = await desk.world.organisation("NHF")
    mentors = [(await desk.mentor(100))[0], await desk.world.mentor(there, days=100)]

    ran = await desk.run("reconcile", "--dry-run", "--format", "csv")

    header, *rows = ran.out.splitlines()
    assert header.startswith("mentor_id,verdict,")
    assert [row.split(",")[:2] for row in rows] == [[str(each), "missing"] for each in mentors]


async def test_duplicates_are_listed_and_closed_with_a_note(desk: Desk) -> None:
    """RCN-7: a person looks, and says what was found."""
    assert "no duplicates wait" in (await desk.run("duplicates", "list")).out
    alert = await desk.world.value(
        "insert into dashboard_alerts (type, organisation_id, subject, text, due_at)"
        " values ('duplicate_log_entries', %s, 'pause:x', 'text', now() - interval '1 h')"
        " returning id",
        desk.organisation.id,
    )
    (listed,) = await desk.json("duplicates", "list")
    assert (listed["alert_id"], listed["overdue"]) == (str(alert), True)
    close = ("duplicates", "close", alert, "--note", "written by hand", "--actor")
    other = await desk.world.coordinator(desk.organisation)
    refused = await desk.run(*close, other)
    assert (refused.code, "an admin of the organisation" in refused.complaint()) == (1, True)

    admin = await desk.world.coordinator(desk.organisation, role="org_admin")
    closed = await desk.run(*close, admin)
    assert (closed.code, closed.out) == (0, f"{alert} is closed\n")
    again = await desk.run(*close, admin)
    assert (again.code, "is no open review" in again.complaint()) == (1, True)


async def test_an_alert_that_only_a_person_closes_is_closed_by_one(desk: Desk) -> None:
    """ALR-4, AUD-1: listed with all others; what closes by itself is left alone."""
    nothing = await desk.run("alerts", "list")
    assert (nothing.code, nothing.out) == (0, "no alert is open\n")
    mentor, coordinator = await desk.mentor(days=30)
    admin = await desk.world.coordinator(desk.organisation, role="hlf_admin")
    await desk.world.conn.execute(
        "insert into dashboard_alerts (type, organisation_id, mentor_id, subject, text, severity)"
        " values ('dynamics_sync_pending', %(org)s, %(mentor)s, 'mentor:1', '', 'warning'),"
        " ('payload_rejected', null, null, 'fcm:[push_unbuildable]', '', 'warning'),"
        " ('credential_failure', null, null, 'fcm:platform', '', 'critical'),"
        " ('credential_failure', null, null, 'handler:fcm', '', 'critical')",
        {"org": desk.organisation.id, "mentor": mentor},
    )

    listed = await desk.json("alerts", "list")
    told = await desk.run("alerts", "list", "--limit", 2)
    ours = await desk.json("alerts", "list", "--organisation", desk.organisation.code)
    closable = {each["subject"]: each["closed_by_a_person"] for each in listed["alerts"]}
    ids = {each["subject"]: each["alert_id"] for each in listed["alerts"]}

    assert closable == {
        "fcm:platform": True, "fcm:[push_unbuildable]": True,
        "handler:fcm": False, "mentor:1": False,
    }  # fmt: skip
    assert [each["severity"] for each in listed["alerts"]] == ["critical"] * 2 + ["warning"] * 2
    assert [each["subject"] for each in ours["alerts"]] == ["mentor:1"]
    assert "the first 2 of 4; --limit shows more" in told.out
    assert all(ids[subject] in told.out for subject in ("fcm:platform", "handler:fcm"))

    def close(subject: str, actor: UUID) -> Any:
        return desk.run("alerts", "close", ids[subject], "--actor", actor, "--note", "renewed")

    await desk.world.coordinator(desk.organisation, role="org_admin")
    for person in (coordinator, NOBODY):
        refused = await close("fcm:platform", person)
        assert refused.code == 1
        assert "allowed to an admin of all organisations" in refused.complaint()
        assert await desk.audited() == ("alert.close", "none", "refused")
    early = await close("handler:fcm", admin)
    assert (early.code, "closes by itself" in early.complaint()) == (1, True)
    for subject in ("fcm:platform", "fcm:[push_unbuildable]"):
        closed = await close(subject, admin)
        assert (closed.code, closed.out) == (0, f"{ids[subject]} is closed\n")
        assert await desk.audited() == ("alert.close", "hlf_admin", "done")
        again = await close(subject, admin)
        assert "is no open alert" in again.complaint()

    left = await desk.json("alerts", "list")
    assert {each["subject"] for each in left["alerts"]} == {"handler:fcm", "mentor:1"}


async def test_what_there_is_none_of_is_said_in_words(database: str, tmp_path: Path) -> None:
    """No command for people ends in silence: who reads nothing cannot tell it from a failure."""
    desk = Terminal(tmp_path, {**BARE, "DATABASE_URL": database})
    for command in (
        ("policy", "show"), ("scope", "show"), ("duplicates", "list"), ("devices", "silent"),
        ("alerts", "list"), ("jobs", "list"), ("sweep",), ("nightly",), ("prompts", "run"),
    ):  # fmt: skip
        ran = await desk.run(*command)
        assert ran.out.strip(), command

    async with World.on(database) as world:
        organisation = await world.organisation()
    rules = await desk.run("prompts", "list", organisation.code)
    assert rules.out == "there are no rules; `outbox prompts define` makes one\n"


async def test_silent_devices_are_told_before_they_end(desk: Desk) -> None:
    """PUSH-8: 30 to 270 days silent, and whom no other device reaches; no address is shown."""
    assert "no push address" in (await desk.run("devices", "silent")).out
    world, here = desk.world, desk.organisation
    there = await world.organisation("NHF")
    alone, twice, elsewhere = [
        await world.mentor(place, device=False) for place in (here, here, there)
    ]
    for person, days in ((alone, 269), (twice, 31), (twice, 2), (elsewhere, 100)):
        await world.device(person, silent_days=days)
    for person, days in ((alone, 29), (alone, 271)):  # too fresh, and no longer sent to
        await world.device(person if days == 271 else elsewhere, silent_days=days)
    await world.device(alone, silent_days=60, invalid=True)

    told = await desk.json("devices", "silent")

    assert [(each["user_id"], each["organisations"], each["silent_days"]) for each in told] == [
        (str(alone), ["HLF"], 269),
        (str(elsewhere), ["NHF"], 100),
        (str(twice), ["HLF"], 31),
    ]
    assert [each["reached_by_no_other"] for each in told] == [True, False, False]
    one = await desk.json("devices", "silent", "--organisation", "NHF")
    assert [each["user_id"] for each in one] == [str(elsewhere)]
    shown = await desk.run("devices", "silent")
    assert shown.out.endswith("3 addresses; 1 people have no device seen within 30 days\n")
    assert "ok-" not in shown.out + json.dumps(told)
    unknown = await desk.run("devices", "silent", "--organisation", "XYZ")
    assert unknown.code == 2
    assert unknown.complaint() == "no organisation has the code 'XYZ'; there are HLF, NHF"


async def test_health_tells_rejected_credentials(desk: Desk) -> None:
    """CRD-1, CRD-4: exit 1 with the reason; exit 0 once they are accepted again."""
    fine = await desk.json("health")
    assert fine["ok"] is True
    assert {check["handler"] for check in fine["checks"]} == {"fcm", "portal", "portal_read"}

    desk.portal.reject_credentials()
    desk.fcm.tokens.reject = True
    bad = await desk.json("health", code=1)
    assert bad["ok"] is False
    assert {check["outcome"] for check in bad["checks"]} == {"rejected"}
    told = await desk.run("health")
    assert (told.code, "fcm: rejected" in told.out) == (1, True)
    assert "emulated-client-secret" not in told.out + told.err
    status = await desk.json("status")
    states = {row["handler"]: row["destination"] for row in status["handlers"]}
    assert states["portal"].startswith("credentials rejected")

    desk.portal.heal()
    desk.fcm.tokens.reject = False
    assert (await desk.json("health"))["ok"] is True


async def test_pause_explain_and_resume(desk: Desk) -> None:
    """P11: what is stuck is explained in one command."""
    mentor, coordinator = await desk.mentor(100)
    why = ("--why", "the portal moves house", "--actor", "operator")
    paused = await desk.run("pause", "portal", *why)
    assert paused.out == "portal is paused\n", paused
    await desk.json("force-sync", mentor, "--actor", coordinator)
    await desk.run("relay", "--drain")
    delivery, _ = await desk.waiting(mentor)
    told = await desk.run("explain", delivery)
    assert told.code == 0
    assert "paused by operator: the portal moves house" in told.out
    status = await desk.json("status")
    (portal,) = [row for row in status["handlers"] if row["handler"] == "portal"]
    assert (portal["pending"], portal["dead"]) == (1, 0)
    assert set(status) == {"handlers", "relays", "unrouted"}

    (saga,) = await desk.json("saga", "list", "--name", "visibility")
    assert (saga["key"], saga["ended_at"]) == (f"mentor:{mentor}", None)
    shown = await desk.json("saga", "show", saga["id"])
    assert [step["topic"] for step in shown["timeline"]] == ["visibility.changed"]
    assert shown["state"]["version"] == 1
    assert (await desk.run("saga", "list")).code == 0

    assert (await desk.run("resume", "portal", "--actor", "operator")).out == "portal is resumed\n"
    await desk.run("relay", "--drain")
    assert (await desk.json("explain", delivery))["state"] == "done"
    told = await desk.run("saga", "show", saga["id"])
    assert "report:visibility.changed:done: confirmed" in told.out


async def test_the_settings_shown_hold_no_secret(desk: Desk) -> None:
    """P12, SEC-4: of a secret one learns whether it is set."""
    ran = await desk.run("config")
    assert ran.code == 0
    assert "DATABASE_URL = set" in ran.out
    assert "HLF_PORTAL_CLIENT_SECRET = set" in ran.out
    for name in (
        "DATABASE_URL", "FCM_SERVICE_ACCOUNT_JSON", "HLF_PORTAL_CLIENT_SECRET",
        "HLF_PORTAL_WEBHOOK_SECRETS",
    ):  # fmt: skip
        assert desk.terminal.env[name] not in ran.out
    assert desk.portal.base_url in ran.out


async def test_settings_that_cannot_be_read_are_named_and_not_shown(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, BARE)
    for name, value in (
        ("HLF_PORTAL_WEBHOOK_SECRETS", "whsec_hunter2"),
        ("PORTAL_AUTH_MODE", "hunter2"),
        ("FCM_RETRY_FLOOR_SECONDS", "hunter2"),
    ):
        ran = await terminal.run("config", **{name: value})
        assert (ran.code, name in ran.complaint()) == (2, True), ran
        assert "hunter2" not in ran.err
