"""SYN-14, CRD-4: the glass is broken in a process of its own, while nothing else can sync."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import select
import subprocess
import termios
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from handlers.emulators.portal_faults import Route
from handlers.ports import DATAVERSE, WEBHOOK
from tests.end_to_end.cli import ROOT, SCRIPT
from tests.end_to_end.test_commands import Desk, desk_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from uuid import UUID

NEW = "rotated-client-secret-7f3c"
GUESSED = "guessed-secret"
WHY = ("--why", "credentials were rotated without a word")


@pytest.fixture(params=[WEBHOOK, DATAVERSE])
def channel(request: pytest.FixtureRequest) -> str:
    """Both ways to the portal."""
    found: str = request.param
    return found


@pytest_asyncio.fixture
async def desk(database: str, tmp_path: Path, channel: str) -> AsyncIterator[Desk]:
    """An operator's desk in front of a portal that has been given a new secret."""
    async with desk_on(database, tmp_path, channel=channel) as desk:
        desk.portal.tokens.client_secret = NEW
        yield desk


async def lapsed(desk: Desk) -> UUID:
    """A mentor whom the portal shows and who has just been paused by a sweep."""
    mentor, _ = await desk.mentor(-1)
    desk.portal.store.put(mentor, version=0, visible=True, now=desk.world.now)
    assert (await desk.json("sweep"))["paused"] == 1
    return mentor


async def administrator(desk: Desk) -> UUID:
    """An HLF administrator."""
    return await desk.world.coordinator(desk.organisation, role="hlf_admin")


def file_of(folder: Path, mode: int = 0o600, **credentials: str) -> Path:
    """A credentials file."""
    path = folder / "credentials.json"
    path.write_text(json.dumps(credentials), encoding="utf-8")
    path.chmod(mode)
    return path


async def stored_texts(desk: Desk) -> str:
    """Everything the run could have left in the database."""
    rows = await desk.world.rows(
        "select a::text as t from audit_log a union all select m::text from outbox.message m"
        " union all select r::text from outbox.receipt r union all select p::text from"
        " portal_sync_state p union all select c::text from credential_checks c"
        " union all select d::text from outbox.destination d"
    )
    return "\n".join(row["t"] for row in rows)


async def test_t1_12_rejected_credentials_alert_on_the_first_run_and_break_glass_syncs(
    desk: Desk, tmp_path: Path
) -> None:
    """T1.12, CRD-1, CRD-2, CRD-4, SYN-14: the circuit is open, no relay runs, and he is hidden."""
    mentor, admin = await lapsed(desk), await administrator(desk)
    night = await desk.json("nightly", code=0)
    assert night["credentials"]["portal"] == "rejected"
    alerts = await desk.world.rows(
        "select subject, severity from dashboard_alerts where type = 'credential_failure'"
        " and resolved_at is null order by subject"
    )
    assert [alert["subject"] for alert in alerts] == ["handler:portal", "handler:portal_read"]
    shown = desk.portal.row(mentor)
    assert shown is not None
    assert shown.stored.visible

    credentials = file_of(tmp_path, client_secret=NEW)
    ran = await desk.run(
        "break-glass", "--all", "--credentials", credentials, "--yes", "--actor", admin, *WHY,
        "--json",
    )  # fmt: skip

    assert ran.code == 0, ran.err
    report = ran.document()
    assert (report["totals"], report["ok"]) == ({"applied": 1}, True)
    assert report["lines"][0]["danger"] is True
    hidden = desk.portal.row(mentor)
    assert hidden is not None
    assert (hidden.stored.version, hidden.stored.visible) == (2, False)
    status = await desk.json("status")
    states = {row["handler"]: row["destination"] for row in status["handlers"]}
    assert states["portal"].startswith("credentials rejected")
    audited = await desk.world.rows(
        "select action, mentor_id, after ->> 'outcome' as outcome from audit_log order by id"
    )
    assert [tuple(row.values()) for row in audited] == [
        ("sync.break_glass", None, "begun"),
        ("sync.break_glass.mentor", mentor, "applied"),
        ("sync.break_glass", None, "ended"),
    ]
    assert NEW not in ran.out + ran.err + await stored_texts(desk)

    # the configured secret is put right: what waited is a duplicate, and the alerts close
    name = "HLF_DATAVERSE" if desk.world.channel == DATAVERSE else "HLF_PORTAL"
    mended = {f"{name}_CLIENT_SECRET": NEW}
    assert (await desk.terminal.run("health", **mended)).code == 0
    assert (await desk.terminal.run("relay", "--drain", **mended)).code == 0
    left = await desk.world.value(
        "select count(*) from dashboard_alerts where resolved_at is null"
        " and type in ('credential_failure', 'dynamics_sync_pending')"
    )
    assert left == 0


async def test_a_dry_run_says_whom_and_sends_nothing(desk: Desk) -> None:
    """SYN-14: who is wanted hidden and may be shown comes first."""
    quiet, _ = await desk.mentor(100)
    mentor, admin = await lapsed(desk), await administrator(desk)
    calls = len(desk.portal.log)

    planned = await desk.json("break-glass", "--all", "--dry-run", "--actor", admin, *WHY)

    assert [line["mentor_id"] for line in planned["lines"]] == [str(mentor), str(quiet)]
    assert [line["danger"] for line in planned["lines"]] == [True, False]
    assert planned["totals"] == {"planned": 2}
    assert len(desk.portal.log) == calls
    table = await desk.run("break-glass", "--mentor", quiet, "--dry-run", "--actor", admin, *WHY)
    assert (table.code, "1 planned" in table.out) == (0, True)


async def test_a_person_is_asked_and_the_terminal_shows_no_secret(desk: Desk) -> None:
    """CRD-4: asked for in a terminal, for this run only."""
    mentor, admin = await lapsed(desk), await administrator(desk)
    signing = [("Signing secrets", "")] if desk.world.channel == WEBHOOK else []
    answers = [("Client id", ""), ("Client secret", NEW), *signing, ("Send 1 mentors", "y")]

    code, out, shown = await asyncio.to_thread(
        typed,
        ["break-glass", "--mentor", str(mentor), "--actor", str(admin), *WHY, "--json"],
        dict(desk.terminal.env),
        answers,
    )

    assert code == 0, shown
    assert json.loads(out)["totals"] == {"applied": 1}
    assert "Client secret" in shown
    assert NEW not in shown + out


def typed(
    args: list[str], env: dict[str, str], answers: list[tuple[str, str]]
) -> tuple[int, str, str]:
    """Run a command at a terminal of its own and type `answers`; code, stdout, what was shown."""
    ours, theirs = os.openpty()

    def at_the_terminal() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [str(SCRIPT), *args], cwd=ROOT, env={**env, "TERM": "dumb"}, stdin=theirs, stderr=theirs,
        stdout=subprocess.PIPE, preexec_fn=at_the_terminal,  # noqa: PLW1509 - one system call, before exec
    )  # fmt: skip
    os.close(theirs)
    shown = ""
    assert process.stdout is not None
    with process:  # waits for it, and closes its end
        for question, answer in answers:
            before = len(shown)
            # what is typed before a hidden question is complete is thrown away
            while question not in shown[before:] or not shown.endswith(": "):
                shown += read_within(ours, seconds=60)
            os.write(ours, f"{answer}\n".encode())
        out = process.stdout.read()
    code = process.wait()
    try:
        while more := read_within(ours, seconds=1):
            shown += more
    except (OSError, AssertionError):  # the other end is closed
        pass
    os.close(ours)
    return code, out.decode(), shown


def read_within(descriptor: int, *, seconds: float) -> str:
    """What the terminal shows next."""
    ready, _, _ = select.select([descriptor], [], [], seconds)
    assert ready, f"the terminal showed nothing for {seconds} s"
    return os.read(descriptor, 1024).decode()


async def test_only_an_administrator_of_all_may(desk: Desk, tmp_path: Path) -> None:
    """CRD-4, VIS-9: a refusal is on record and nothing is sent."""
    await lapsed(desk)
    other = await desk.world.coordinator(desk.organisation, role="org_admin")
    credentials = file_of(tmp_path, client_secret=NEW)

    ran = await desk.run(
        "break-glass", "--all", "--credentials", credentials, "--yes", "--actor", other, *WHY
    )

    assert ran.code == 1
    assert "allowed to an administrator of all organisations" in ran.complaint()
    assert await desk.audited() == ("sync.break_glass", "none", "refused")
    assert desk.portal.requests() == []


async def test_credentials_that_do_not_work_either_send_nothing(desk: Desk, tmp_path: Path) -> None:
    await lapsed(desk)
    admin = await administrator(desk)
    credentials = file_of(tmp_path, client_secret=GUESSED)

    ran = await desk.run(
        "break-glass", "--all", "--credentials", credentials, "--yes", "--actor", admin, *WHY
    )

    assert ran.code == 1
    assert "AADSTS7000215 (wrong client secret)" in ran.complaint()
    assert GUESSED not in ran.err
    assert desk.portal.requests() == []
    assert await desk.audited() == ("sync.break_glass", "hlf_admin", "begun")


async def test_a_portal_that_asks_to_wait_stops_the_rest(desk: Desk, tmp_path: Path) -> None:
    """SYN-11: nobody is called any more; who was not tried stands in the report."""
    admin = await administrator(desk)
    for _ in range(12):
        await desk.mentor(100)
    desk.portal.script(status=429, times=None, retry_after=30, routes=(Route.SET, Route.READ))
    credentials = file_of(tmp_path, client_secret=NEW)

    ran = await desk.run(
        "break-glass", "--all", "--credentials", credentials, "--yes", "--actor", admin, *WHY,
        "--json",
    )  # fmt: skip

    assert ran.code == 1
    totals = ran.document()["totals"]
    assert sum(totals.values()) == 12
    assert totals["not_tried"] >= 8
    assert totals["portal_throttled"] <= 4


async def test_whom_the_portal_does_not_know_is_a_finding(desk: Desk, tmp_path: Path) -> None:
    """SYN-10: as when a relay is told so; who stands there in vain is in the report of data."""
    if desk.world.channel == DATAVERSE:
        pytest.skip("Dataverse knows nobody and takes everybody")
    admin = await administrator(desk)
    mentor, _ = await desk.mentor(100)
    desk.portal.script(status=404, code="unknown_mentor")
    credentials = file_of(tmp_path, client_secret=NEW)

    ran = await desk.run(
        "break-glass", "--all", "--credentials", credentials, "--yes", "--actor", admin, *WHY,
        "--json",
    )  # fmt: skip

    assert (ran.code, ran.document()["totals"]) == (1, {"unknown_mentor": 1})
    found = await desk.world.rows("select kind, mentor_id from data_quality_findings")
    assert [tuple(row.values()) for row in found] == [("unknown_at_portal", mentor)]


@pytest.mark.parametrize(
    ("given", "mode", "told"),
    [
        ({"client_secret": "hunter2"}, 0o644, "may be read by others"),
        ({"secret": "hunter2"}, 0o600, "no credential (secret); there are base_url"),
        ({"base_url": "http://hunter2.example"}, 0o600, "(base_url: secrets go there: it must be"),
        ({}, None, "cannot be read (FileNotFoundError)"),
    ],
)
async def test_a_file_that_will_not_do_is_refused_and_not_quoted(
    desk: Desk, tmp_path: Path, given: dict[str, str], mode: int | None, told: str
) -> None:
    """CRD-4, P12."""
    await desk.mentor(100)
    admin = await administrator(desk)
    file = tmp_path / "missing.json" if mode is None else file_of(tmp_path, mode, **given)

    ran = await desk.run(
        "break-glass", "--all", "--credentials", file, "--yes", "--actor", admin, *WHY
    )

    assert ran.code == 2
    assert told in ran.complaint()
    assert "hunter2" not in ran.err


async def test_one_of_mentor_and_all_is_given(desk: Desk) -> None:
    args: list[Any] = ["break-glass", "--actor", await administrator(desk), *WHY]
    for given in ([], ["--all", "--mentor", desk.organisation.id]):
        ran = await desk.run(*args, *given)
        assert ran.code == 2
        assert "give --mentor ID (once or more) or --all" in ran.complaint()
    nobody = await desk.run(*args, "--mentor", desk.organisation.id, "--dry-run")
    assert nobody.code == 2
    assert str(desk.organisation.id) in nobody.complaint()
