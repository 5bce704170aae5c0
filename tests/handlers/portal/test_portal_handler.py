"""The portal's two handlers, driven by the relay against PostgreSQL and the emulated portal.

SYN-1: through the webhook and through Dataverse.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from handlers.alerts import AlertHandler
from handlers.commands import VisibilityReadBack
from handlers.emulators.portal_faults import Route, Silence
from handlers.portal import (
    RETRY_LADDER,
    DataverseClient,
    PortalClient,
    PortalHandler,
    ReadBackHandler,
)
from handlers.ports import DATAVERSE, WEBHOOK
from outbox import App, Relay, VirtualClock, publish
from outbox.errors import CredentialsRejected, TransientFailure
from tests.handlers.rows import bump, mentor, organisation, pause, published

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from handlers.emulators.dataverse import DataverseEmulator
    from handlers.emulators.portal import PortalEmulator


@dataclass
class Bench:
    """One database, one portal, one relay; `work` tries everything that is due."""

    conn: psycopg.Connection[Any]
    relay: Relay
    portal: PortalEmulator | DataverseEmulator
    clock: VirtualClock
    client: DataverseClient | PortalClient
    channel: str

    async def work(self, after: timedelta = timedelta(0)) -> int:
        self.clock.advance(after)
        return await self.relay.drain()

    def sync_state(self, mentor_id: UUID) -> dict[str, Any]:
        cursor = self.conn.cursor(row_factory=dict_row)
        cursor.execute("select * from public.portal_sync_state where mentor_id = %s", (mentor_id,))
        row = cursor.fetchone()
        assert row is not None
        return row

    def receipts(self, handler: str) -> list[tuple[str, str | None, Any]]:
        """Outcome, reason and what was kept, per attempt."""
        return self.conn.execute(
            "select outcome, reason, detail from outbox.receipt where handler = %s order by id",
            (handler,),
        ).fetchall()

    def dead(self) -> list[str]:
        return [row[0] for row in self.conn.execute("select reason from outbox.dead_letter")]

    def open_alerts(self) -> list[tuple[str, str]]:
        return self.conn.execute(
            "select type, severity from public.dashboard_alerts where resolved_at is null"
        ).fetchall()


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


@pytest.fixture
async def bench(
    database: str,
    conn: psycopg.Connection[Any],
    portal: PortalEmulator | DataverseEmulator,
    clock: VirtualClock,
    make_client: Callable[..., DataverseClient | PortalClient],
    channel: str,
) -> AsyncIterator[Bench]:
    client = make_client()
    app = App("test", clock=clock)
    app.add(PortalHandler({channel: client}).handler())
    app.add(ReadBackHandler({channel: client}).handler())
    app.add(AlertHandler().handler())
    relay = Relay(app, database)
    async with relay.opened():
        yield Bench(conn, relay, portal, clock, client, channel)


@pytest.fixture
def lapsed(bench: Bench) -> UUID:
    """A mentor just paused: version 1, hidden, waiting to be sent."""
    made = mentor(bench.conn, organisation(bench.conn, channel=bench.channel))
    assert pause(bench.conn, made) == 1
    return made


def held(bench: Bench, mentor_id: UUID) -> tuple[int, bool] | None:
    row = bench.portal.row(mentor_id)
    return None if row is None else (row.stored.version, row.stored.visible)


async def test_a_pause_reaches_the_portal(bench: Bench, lapsed: UUID) -> None:
    await bench.work()

    assert held(bench, lapsed) == (1, False)
    state = bench.sync_state(lapsed)
    assert (state["acked_version"], state["acked_visible"]) == (1, False)
    assert (state["acked_at"], state["last_code"]) == (bench.clock.now(), "applied")
    assert (state["observed_version"], state["observed_visible"]) == (1, False)


async def test_only_the_newest_version_is_sent(bench: Bench, lapsed: UUID) -> None:
    assert [bump(bench.conn, lapsed) for _ in range(4)] == [2, 3, 4, 5]

    await bench.work()

    assert [request.version for request in bench.portal.requests()] == [5]
    assert bench.sync_state(lapsed)["acked_version"] == 5


async def test_the_worked_example_of_a_lost_answer(bench: Bench, lapsed: UUID) -> None:
    """503, then an answer lost after applying, then `duplicate`: 5 s and 30 s apart."""
    bench.portal.script(status=503)
    bench.portal.script(applied=True, silence=Silence.DROP)

    await bench.work()
    assert bench.sync_state(lapsed)["last_code"] == "portal_http_503"
    await bench.work(timedelta(seconds=4))
    assert len(bench.portal.requests()) == 1
    await bench.work(timedelta(seconds=2))
    assert held(bench, lapsed) == (1, False)
    assert bench.sync_state(lapsed)["acked_version"] == 0
    await bench.work(timedelta(seconds=29))
    assert [request.status for request in bench.portal.requests()] == [503, None]
    await bench.work(timedelta(seconds=8))

    state = bench.sync_state(lapsed)
    assert (state["acked_version"], state["last_code"], state["attempts"]) == (1, "duplicate", 3)


def test_the_ladder_is_the_agreed_one() -> None:
    """SYN-5: 5 s, 30 s, 2, 5, 15, 30 min, then hourly for ever, up to a fifth later."""
    waits = [RETRY_LADDER.backoff.after(failures).total_seconds() for failures in range(1, 10)]

    assert waits == [5, 30, 120, 300, 900, 1_800, 3_600, 3_600, 3_600]
    assert (RETRY_LADDER.attempts_max, RETRY_LADDER.jitter) == (None, 0.2)


async def test_an_unclear_answer_is_never_given_up(bench: Bench, lapsed: UUID) -> None:
    bench.portal.outage(status=500)

    for _ in range(30):
        await bench.work(timedelta(hours=2))
    bench.portal.heal()
    await bench.work(timedelta(hours=2))

    assert bench.dead() == []
    assert held(bench, lapsed) == (1, False)
    assert RETRY_LADDER.attempts_max is None


async def test_throttling_holds_everybody_and_spends_no_attempt(bench: Bench, lapsed: UUID) -> None:
    bench.portal.script(status=429, retry_after=40)
    await bench.work()
    other = mentor(bench.conn, organisation_of(bench, lapsed))
    pause(bench.conn, other)

    await bench.work(timedelta(seconds=39))
    assert len(bench.portal.requests()) == 1
    await bench.work(timedelta(seconds=2))

    assert held(bench, lapsed) == held(bench, other) == (1, False)
    assert bench.sync_state(lapsed)["attempts"] == 1


async def test_rejected_credentials_alert_at_once_and_open_the_circuit(
    bench: Bench, lapsed: UUID
) -> None:
    bench.portal.script(status=401, times=None, routes=(Route.SET, Route.READ, Route.HEALTH))

    await bench.work()

    assert bench.dead() == []
    assert bench.open_alerts() == [("credential_failure", "critical")]
    assert len(bench.portal.log) == 2 + 2  # the token is refreshed once, then nothing is sent
    await bench.work(timedelta(seconds=1))
    assert len(bench.portal.log) == 2 + 2
    assert held(bench, lapsed) is None


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"status": 422, "code": "reason_unknown"}, "portal_refused:reason_unknown"),
        ({"status": 410}, "endpoint_retired"),
        pytest.param({"status": 404, "code": "unknown_mentor"}, "unknown_mentor", id="unknown"),
    ],
)
async def test_what_repeating_cannot_help_is_a_dead_letter(
    bench: Bench, lapsed: UUID, fault: dict[str, Any], reason: str
) -> None:
    if bench.channel == DATAVERSE and reason == "unknown_mentor":
        pytest.skip("Dataverse knows nobody and takes everybody")
    bench.portal.script(**fault)

    await bench.work()

    assert bench.dead() == [reason]
    assert bench.sync_state(lapsed)["acked_version"] == 0


async def test_whom_the_portal_does_not_know_is_a_finding(bench: Bench) -> None:
    """SYN-10: once per mentor however often it is said, and not of one who is to be hidden."""
    if bench.channel == DATAVERSE:
        pytest.skip("Dataverse knows nobody and takes everybody")
    here = organisation(bench.conn, channel=bench.channel)
    shown, hidden = mentor(bench.conn, here), mentor(bench.conn, here)
    bench.portal.script(times=3, status=404, code="unknown_mentor")
    bump(bench.conn, shown)
    pause(bench.conn, hidden)
    await bench.work()
    bench.clock.advance(timedelta(hours=1))
    bump(bench.conn, shown)
    await bench.work()

    found = bench.conn.execute(
        "select kind, organisation_id, mentor_id, last_seen_at - found_at"
        " from public.data_quality_findings where resolved_at is null"
    ).fetchall()
    assert bench.dead() == ["unknown_mentor"] * 3
    assert found == [("unknown_at_portal", here, shown, timedelta(hours=1))]


@pytest.mark.parametrize(("version", "returned", "cause"), [(40, 40, None), (1, 1, "conflict")])
async def test_a_portal_that_is_ahead_or_contradicts_ends_with_that_fact(
    bench: Bench, lapsed: UUID, version: int, returned: int, cause: str | None
) -> None:
    bench.portal.store.put(lapsed, version=version, visible=True, now=bench.clock.now())

    await bench.work()

    ((outcome, _, detail),) = bench.receipts("portal")
    assert outcome == "done"
    assert (detail["answer"], detail["returned_version"]) == ("ahead", returned)
    assert detail.get("cause") == cause
    state = bench.sync_state(lapsed)
    assert (state["acked_version"], state["observed_version"]) == (0, version)
    assert state["observed_visible"] is True


async def test_an_accepted_state_is_confirmed_by_reading_it_back(
    bench: Bench, lapsed: UUID
) -> None:
    bench.portal.script(status=202, body=b"")
    await bench.work()
    state = bench.sync_state(lapsed)
    assert (state["accepted_version"], state["acked_version"]) == (1, 0)

    read_back(bench, lapsed)
    await bench.work()
    absent = {"answer": "absent", "wanted_version": 1, "wanted_visible": False}
    assert bench.receipts("portal_read")[-1][2] == absent

    bench.portal.store.put(lapsed, version=1, visible=False, now=bench.clock.now())
    read_back(bench, lapsed)
    await bench.work()

    assert bench.receipts("portal_read")[-1][2]["answer"] == "confirmed"
    state = bench.sync_state(lapsed)
    assert (state["acked_version"], state["acked_visible"]) == (1, False)
    assert (state["observed_published"], state["attempts"]) == (False, 1)


@pytest.mark.parametrize(
    ("version", "visible", "answer"),
    [(1, True, "not_yet"), (2, False, "confirmed"), (2, True, "ahead"), (3, False, "ahead")],
)
async def test_what_is_read_back_is_compared_with_what_is_wanted_now(
    bench: Bench, lapsed: UUID, version: int, answer: str, *, visible: bool
) -> None:
    bench.portal.script(status=202, times=None, body=b"")
    await bench.work()
    assert bump(bench.conn, lapsed) == 2
    bench.portal.store.put(lapsed, version=version, visible=visible, now=bench.clock.now())

    read_back(bench, lapsed, version=2)
    await bench.work()

    ((outcome, _, detail),) = bench.receipts("portal_read")
    assert (outcome, detail["answer"]) == ("done", answer)
    assert bench.sync_state(lapsed)["acked_version"] == (2 if answer == "confirmed" else 0)


async def test_without_a_channel_nothing_is_called(bench: Bench) -> None:
    """An organisation may lose its portal after the change was published."""
    made = mentor(bench.conn, organisation(bench.conn, channel=bench.channel))
    pause(bench.conn, made)
    bench.conn.execute("update public.organisations set visibility_channel = 'none'")

    await bench.work()

    assert bench.portal.log == []
    assert [row[:2] for row in bench.receipts("portal")] == [("suppressed", "no_channel")]


async def test_a_channel_without_a_port_is_a_dead_letter(bench: Bench) -> None:
    other = DATAVERSE if bench.channel == WEBHOOK else WEBHOOK
    made = mentor(bench.conn, organisation(bench.conn, channel=other))
    pause(bench.conn, made)

    await bench.work()

    assert bench.dead() == ["channel_not_configured"]


async def test_a_mentor_who_is_gone_is_suppressed(bench: Bench, lapsed: UUID) -> None:
    bench.conn.execute("delete from public.peer_mentors where id = %s", (lapsed,))
    with bench.conn.transaction():
        publish(bench.conn, VisibilityReadBack(mentor_id=uuid4(), version=1))

    await bench.work()

    assert [row[1] for row in bench.receipts("portal")] == ["mentor_gone"]
    assert [row[1] for row in bench.receipts("portal_read")] == ["mentor_gone"]


async def test_a_late_acknowledgement_never_takes_a_newer_one_back(
    bench: Bench, lapsed: UUID
) -> None:
    await bench.work()
    bench.conn.execute(
        "update public.portal_sync_state set acked_version = 9, acked_visible = true,"
        " observed_version = 9, observed_at = observed_at + interval '1 hour'"
    )
    bump(bench.conn, lapsed)

    await bench.work()

    state = bench.sync_state(lapsed)
    assert (state["acked_version"], state["acked_visible"]) == (9, True)
    assert (state["observed_version"], state["last_code"]) == (9, "applied")


async def test_the_check_tells_credentials_from_availability(bench: Bench) -> None:
    handler = PortalHandler({bench.channel: bench.client})
    await handler.check()

    for status, error in [(401, CredentialsRejected), (500, TransientFailure)]:
        bench.portal.script(status=status, times=2, routes=(Route.HEALTH,))
        with pytest.raises(error):
            await handler.check()
        bench.portal.heal()
    bench.portal.script(status=429, retry_after=30, routes=(Route.HEALTH,))
    with pytest.raises(TransientFailure) as throttled:
        await handler.check()
    assert throttled.value.retry_after == timedelta(seconds=30)


async def test_at_most_four_calls_are_in_flight(bench: Bench) -> None:
    home = organisation(bench.conn, channel=bench.channel)
    for _ in range(20):
        pause(bench.conn, mentor(bench.conn, home))

    await bench.work()

    assert len(bench.portal.requests()) == 20
    assert bench.portal.in_flight_max <= 4


async def test_nothing_personal_travels(bench: Bench, lapsed: UUID) -> None:
    """SYN-12: what is sent is logged whole by the emulator; only ids, versions and codes."""
    bench.conn.execute(
        "update public.peer_mentors set pause_reason = 'Kari Nordmann is ill' where id = %s",
        (lapsed,),
    )

    await bench.work()

    assert "Kari" not in repr(bench.portal.log)
    assert published(bench.conn, "visibility.changed") == [
        {"mentor_id": str(lapsed), "version": 1, "reason": "paused_manual"}
    ]


def organisation_of(bench: Bench, mentor_id: UUID) -> UUID:
    row = bench.conn.execute(
        "select organisation_id from public.peer_mentors where id = %s", (mentor_id,)
    ).fetchone()
    assert row is not None
    found = row[0]
    assert isinstance(found, UUID)
    return found


def read_back(bench: Bench, mentor_id: UUID, *, version: int = 1) -> None:
    with bench.conn.transaction():
        publish(bench.conn, VisibilityReadBack(mentor_id=mentor_id, version=version))
