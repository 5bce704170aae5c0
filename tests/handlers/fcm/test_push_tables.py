"""The push handler on real tables: what a batch is told, and what is written when it ends."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest
from structlog.testing import capture_logs

from handlers.fcm import PostgresPushStore, PushHandler
from handlers.fcm.encode import dedup_tag
from handlers.fcm.handler import Prepared
from outbox.outcome import (
    AnyOutcome,
    Dead,
    Done,
    Retry,
    Superseded,
    Suppressed,
    Unknown,
    Withdrawn,
)
from tests.handlers.fcm.tables import NOON, Tables, request, settled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from tests.handlers.fcm.wire import Wire


@pytest.fixture
def tables(database: str) -> Iterator[Tables]:
    with psycopg.connect(database, autocommit=True) as conn:
        yield Tables(conn)


@pytest.fixture
async def conn(database: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as conn:
        yield conn


@pytest.fixture
def handler(wire: Wire) -> PushHandler:
    return PushHandler(wire.client, PostgresPushStore(), wire.time.now)


async def _prepare_one(handler: PushHandler, conn: Any, group: UUID) -> Any:
    prepared = await handler.prepare(conn, [request(group)])
    return prepared[1]


async def test_a_batch_is_resolved_in_two_statements(
    tables: Tables, conn: Any, handler: PushHandler
) -> None:
    """REC-6, PRF-4: the number of statements does not grow with the batch."""
    coordinators = [uuid4() for _ in range(12)]
    groups = [tables.push_of(who)[0] for who in coordinators]
    for number, who in enumerate(coordinators):
        tables.device(who, f"ok-{number}")
    executed: list[object] = []

    class Counting(psycopg.AsyncCursor[Any]):
        async def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            executed.append(query)
            return await super().execute(query, *args, **kwargs)

    conn.cursor_factory = Counting
    items = [request(group, delivery=n) for n, group in enumerate(groups)]
    prepared: Mapping[int, Any] = await handler.prepare(conn, items)

    assert len(executed) == 2
    assert [prepared[n].pushes[0].device.address for n in range(12)] == [
        f"ok-{n}" for n in range(12)
    ]


async def test_a_push_is_made_of_live_rows(tables: Tables, conn: Any, handler: PushHandler) -> None:
    who = uuid4()
    group, fact = tables.push_of(who)
    tables.device(who, "ok-old", seen=timedelta(days=30))
    tables.device(who, "ok-new")

    prepared = await _prepare_one(handler, conn, group)

    assert [push.device.address for push in prepared.pushes] == ["ok-new", "ok-old"]
    first = prepared.pushes[0]
    assert first.tag == dedup_tag(f"key:{group}")
    assert first.data["notification_id"] == str(fact.notification)
    assert first.data["mentor_id"] == str(fact.mentor)
    assert first.title == "Et sertifikat utløper snart"


async def test_t4_2_one_coordinator_without_device_leaves_the_others_served(
    tables: Tables, conn: Any, handler: PushHandler, wire: Wire
) -> None:
    """T4.2, PUSH-10: no_token is an outcome of that recipient, not an end of the batch."""
    anna, bo, cid = uuid4(), uuid4(), uuid4()
    groups = [tables.push_of(who)[0] for who in (anna, bo, cid)]
    tables.device(anna, "ok-anna")
    tables.device(cid, "ok-cid")

    items = [request(group, delivery=n) for n, group in enumerate(groups)]
    prepared = await handler.prepare(conn, items)
    for n in (0, 2):
        message, attempt = items[n]
        outcome = await handler.call(message, attempt._replace(prepared=prepared[n]))
        assert isinstance(outcome, Done)

    assert prepared[1] == Suppressed("no_token")
    assert [delivery.address for delivery in wire.fcm.deliveries] == ["ok-anna", "ok-cid"]


@pytest.mark.parametrize("change", ["invalidated", "270 days", "another's"])
async def test_an_unusable_address_is_none(
    tables: Tables, conn: Any, handler: PushHandler, change: str
) -> None:
    """PUSH-8."""
    who = uuid4()
    group, _ = tables.push_of(who)
    seen = timedelta(days=270 if change == "270 days" else 1)
    device = tables.device(uuid4() if change == "another's" else who, "ok-1", seen=seen)
    if change == "invalidated":
        tables.do("update device_tokens set invalidated_at = now() where id = %s", device)

    assert await _prepare_one(handler, conn, group) == Suppressed("no_token")


@pytest.mark.parametrize(
    "change",
    [
        "update certifications set expiry_date = '2027-03-20' where id = %(certificate)s",
        "update certifications set revoked_at = now() where id = %(certificate)s",
        "delete from certifications where id = %(certificate)s",
        "update peer_mentors set status = 'inactive' where id = %(mentor)s",
        "delete from peer_mentors where id = %(mentor)s",
        """insert into certifications (mentor_id, certificate_type, expiry_date)
           values (%(mentor)s, 'peer_mentor', '2027-03-20')""",
    ],
)
async def test_what_is_no_longer_true_is_not_pushed(
    tables: Tables, conn: Any, handler: PushHandler, change: str
) -> None:
    """DSP-8: renewed in place, revoked, deleted, mentor gone, or a newer certificate."""
    who = uuid4()
    group, fact = tables.push_of(who)
    tables.device(who, "ok-1")
    facts = {"certificate": fact.certificate, "mentor": fact.mentor}
    tables.conn.execute(change.encode(), facts)

    assert await _prepare_one(handler, conn, group) == Suppressed("cancelled")


async def test_a_pause_lifted_meanwhile_is_not_told(
    tables: Tables, conn: Any, handler: PushHandler
) -> None:
    who, mentor = uuid4(), tables.mentor(status="paused")
    group = tables.group(who, "mentor_paused")
    tables.paused(group, who, mentor)
    tables.device(who, "ok-1")
    prepared = await _prepare_one(handler, conn, group)
    assert prepared.pushes[0].data["reason"] == "certificate_lapsed"

    tables.do("update peer_mentors set status = 'active' where id = %s", mentor)

    assert await _prepare_one(handler, conn, group) == Suppressed("cancelled")


async def test_a_push_that_cannot_be_built_spoils_no_other(
    tables: Tables, conn: Any, handler: PushHandler
) -> None:
    """GRP-4, DSP-3: a reminder without its tier is our mistake, and that recipient's alone."""
    anna, bo = uuid4(), uuid4()
    broken, whole = tables.push_of(anna)[0], tables.push_of(bo)[0]
    tables.device(anna, "ok-anna")
    tables.device(bo, "ok-bo")
    tables.do("update notification_items set tier = null where group_id = %s", broken)

    prepared = await handler.prepare(conn, [request(broken), request(whole, delivery=2)])

    assert prepared[1] == Dead("push_unbuildable")
    assert isinstance(prepared[2], Prepared)


async def test_a_delivered_group_is_never_pushed_again(
    tables: Tables, conn: Any, handler: PushHandler
) -> None:
    who = uuid4()
    group, fact = tables.push_of(who)
    tables.device(who, "ok-1")
    await handler.record(conn, [settled(group, Done(), prepared=Prepared(()))])

    outcome = await _prepare_one(handler, conn, group)
    assert outcome == Suppressed("already_delivered")

    await handler.record(conn, [settled(group, outcome)])
    assert tables.group_row(group)[0] == tables.inbox_status(fact) == "delivered"


@pytest.mark.parametrize("doubt", ["engine", "table"])
async def test_a_repeat_of_the_unknown_says_that_it_may_be_one(
    tables: Tables, conn: Any, handler: PushHandler, doubt: str
) -> None:
    """DSP-7, DED-12: same tag, one sentence more, and the group remembers it."""
    who = uuid4()
    group, _ = tables.push_of(who)
    tables.device(who, "ok-1")
    if doubt == "table":
        await handler.record(conn, [settled(group, Unknown("fcm_timed_out"))])
    message, attempt = request(group)
    again = attempt._replace(resend=doubt == "engine")

    prepared = (await handler.prepare(conn, [(message, again)]))[1]

    assert isinstance(prepared, Prepared)
    assert prepared.pushes[0].body.endswith("Denne meldingen kan komme to ganger.")
    assert prepared.pushes[0].tag == dedup_tag(f"key:{group}")
    await handler.record(conn, [settled(group, Done(), prepared=prepared)])
    assert tables.row("select resent from notification_groups where id = %s", group) == (True,)


CALLED = Prepared(())


@pytest.mark.parametrize(
    ("outcome", "called", "status", "inbox", "attempts", "error"),
    [
        (Done({"accepted": 1}), True, "delivered", "delivered", 1, None),
        (Suppressed("no_token"), False, "no_token", "no_token", 0, None),
        (Suppressed("cancelled"), False, "cancelled", "cancelled", 0, None),
        (Retry(None, "fcm_internal"), True, "queued", "pending", 1, "fcm_internal"),
        (Retry(timedelta(0), "fcm_throttled", spent=False), True,
         "queued", "pending", 0, "fcm_throttled"),
        (Dead("address_unregistered"), True, "failed", "failed", 1, "address_unregistered"),
        (Dead("lone_claims"), False, "failed", "failed", 0, "lone_claims"),
        (Unknown("fcm_timed_out"), True, "unknown", "unknown", 1, "fcm_timed_out"),
        (Unknown("lease_expired"), False, "unknown", "unknown", 1, "lease_expired"),
        (Superseded(), False, "cancelled", "cancelled", 0, None),
        (Withdrawn(), False, "cancelled", "cancelled", 0, None),
    ],
)  # fmt: skip
async def test_every_outcome_is_written_in_every_place(
    tables: Tables, conn: Any, handler: PushHandler, outcome: AnyOutcome,
    called: bool, status: str, inbox: str, attempts: int, error: str | None,  # noqa: FBT001 - a column of the table above
) -> None:  # fmt: skip
    """D-15, NTF-2: group, inbox and log can never disagree, whoever settles."""
    who = uuid4()
    group, fact = tables.push_of(who)

    await handler.record(conn, [settled(group, outcome, prepared=CALLED if called else None)])

    at = None if status == "queued" else NOON
    sent = date(2026, 3, 2) if status == "delivered" else None
    assert tables.group_row(group) == (status, attempts, error, at)
    assert tables.log_row(fact) == (status, attempts, attempts, error, sent, at)
    assert tables.inbox_status(fact) == inbox


async def test_attempts_add_up_and_a_late_success_stands(
    tables: Tables, conn: Any, handler: PushHandler
) -> None:
    who = uuid4()
    group, fact = tables.push_of(who)
    for outcome in (Retry(None, "fcm_internal"), Unknown("fcm_timed_out"), Done()):
        await handler.record(conn, [settled(group, outcome, prepared=CALLED)])

    assert tables.group_row(group)[:3] == ("delivered", 3, None)
    assert tables.log_row(fact)[:3] == ("delivered", 3, 3)


async def test_items_that_fell_away_are_cancelled_and_the_rest_delivered(
    tables: Tables, conn: Any, handler: PushHandler, wire: Wire
) -> None:
    """GRP-3, DSP-8: a digest counts who is left, and the log tells the two apart."""
    who = uuid4()
    group = tables.group(who, "coordinator_digest")
    first, second, third = (
        tables.reminded(group, who, position=n, tier=tier)
        for n, tier in enumerate(("7", "14", "30"))
    )
    tables.device(who, "ok-1")
    tables.do("update certifications set revoked_at = now() where id = %s", second.certificate)

    message, attempt = request(group)
    prepared = (await handler.prepare(conn, [(message, attempt)]))[1]
    outcome = await handler.call(message, attempt._replace(prepared=prepared))
    await handler.record(conn, [settled(group, outcome, prepared=prepared)])

    assert isinstance(prepared, Prepared)
    assert prepared.pushes[0].data["count"] == "2"
    assert len(wire.fcm.deliveries) == 1
    assert [tables.log_row(fact)[0] for fact in (first, second, third)] == [
        "delivered", "cancelled", "delivered"
    ]  # fmt: skip
    assert tables.inbox_status(second) == "cancelled"
    assert tables.log_row(second)[1] == 0


async def test_a_merged_log_row_is_left_alone(
    tables: Tables, conn: Any, handler: PushHandler
) -> None:
    """PAU-12."""
    group, fact = tables.push_of(uuid4())
    tables.do("update cert_notification_log set status = 'merged'")

    await handler.record(conn, [settled(group, Done(), prepared=CALLED)])

    assert tables.log_row(fact)[0] == "merged"


async def test_a_dead_address_is_forgotten_and_another_serves(
    tables: Tables, conn: Any, handler: PushHandler, wire: Wire
) -> None:
    """PUSH-8: invalidated with its reason; the log names it by a hash alone."""
    who = uuid4()
    group, _ = tables.push_of(who)
    dead = tables.device(who, "unreg-1")
    tables.device(who, "ok-1", seen=timedelta(days=2))
    message, attempt = request(group)
    prepared = (await handler.prepare(conn, [(message, attempt)]))[1]

    outcome = await handler.call(message, attempt._replace(prepared=prepared))
    with capture_logs() as logs:
        await handler.record(conn, [settled(group, outcome, prepared=prepared)])

    assert isinstance(outcome, Done)
    assert outcome.receipt["accepted"] == 1
    found = tables.row(
        "select invalidated_at, invalid_reason from device_tokens where id = %s", dead
    )
    assert found == (NOON, "unregistered")
    assert tables.group_row(group)[0] == "delivered"
    assert [entry["event"] for entry in logs] == ["device.invalidated"]
    assert "unreg-1" not in str(logs)
    assert [delivery.address for delivery in wire.fcm.deliveries] == ["ok-1"]


@pytest.mark.parametrize(
    "change",
    ["set last_seen_at = last_seen_at + interval '1 hour'", "set address = 'ok-rotated'"],
)
async def test_an_address_registered_again_meanwhile_stays(
    tables: Tables, conn: Any, handler: PushHandler, change: str
) -> None:
    """PUSH-8: the app came back between the send and the settlement."""
    who = uuid4()
    group, _ = tables.push_of(who)
    device = tables.device(who, "unreg-1")
    message, attempt = request(group)
    prepared = (await handler.prepare(conn, [(message, attempt)]))[1]
    outcome = await handler.call(message, attempt._replace(prepared=prepared))
    tables.do(f"update device_tokens {change} where id = %s", device)

    await handler.record(conn, [settled(group, outcome, prepared=prepared)])

    assert outcome == Dead("address_unregistered")
    assert tables.row("select invalidated_at from device_tokens where id = %s", device) == (None,)


async def test_what_only_a_person_can_mend_is_alerted(
    tables: Tables, conn: Any, handler: PushHandler
) -> None:
    """ALR-4, CRD-2: once for each cause in a batch; a dead address is nobody's alarm."""
    reasons = (
        "payload_refused:message.data.0.value",
        "payload_refused:message.data.0.value",
        "push_unbuildable",
        "platform_credentials",
        "address_unregistered",
    )
    groups = [tables.push_of(uuid4())[0] for _ in reasons]

    ended = [
        settled(group, Dead(reason), prepared=CALLED)
        for group, reason in zip(groups, reasons, strict=True)
    ]
    async with conn.transaction():
        await handler.record(conn, ended)

    rows = tables.conn.execute(
        "select payload ->> 'type', payload ->> 'subject', payload ->> 'severity'"
        " from outbox.message where topic = 'alert.open' order by id"
    ).fetchall()
    assert rows == [
        ("payload_rejected", "fcm:payload_refused:message.data.0.value", "warning"),
        ("payload_rejected", "fcm:push_unbuildable", "warning"),
        ("credential_failure", "fcm:platform", "critical"),
    ]


async def test_a_final_failure_is_logged_without_an_address(
    tables: Tables, conn: Any, handler: PushHandler
) -> None:
    """RTY-6."""
    who = uuid4()
    group, _ = tables.push_of(who)

    with capture_logs() as logs:
        await handler.record(conn, [settled(group, Dead("address_malformed"), prepared=CALLED)])

    assert logs == [
        {
            "event": "push.failed",
            "log_level": "error",
            "recipient_id": str(who),
            "kind": "cert_expiry_reminder",
            "error_class": "address_malformed",
            "attempts": 1,
        }
    ]


async def test_a_scenario_prompt_is_written_to_its_history(
    tables: Tables, conn: Any, handler: PushHandler
) -> None:
    """SCN-2: claimed, then dispatched or failed."""
    mentor, scenario, prompt = tables.mentor(), uuid4(), uuid4()
    tables.do(
        "insert into followup_scenarios (id, code, name, rule) values (%s, 'c', 'n', '{}')",
        scenario,
    )
    group = tables.group(mentor, "scenario_prompt")
    tables.do(
        "insert into prompt_history (id, organisation_id, user_id, scenario_id, activity_ref,"
        " mentor_id, due_on) values (%s, %s, %s, %s, 'a', %s, '2026-03-02')",
        prompt, tables.organisation, mentor, scenario, mentor,
    )  # fmt: skip
    tables.do(
        "insert into notification_items (group_id, position, mentor_id, kind, scenario_id,"
        " prompt_id) values (%s, 0, %s, 'scenario_prompt', %s, %s)",
        group, mentor, scenario, prompt,
    )  # fmt: skip
    found = []
    for outcome in (Retry(None, "fcm_internal"), Dead("payload_refused"), Done()):
        async with conn.transaction():
            await handler.record(conn, [settled(group, outcome, prepared=CALLED)])
        found.append(
            tables.row(
                "select status, attempts, error_class from prompt_history where id = %s", prompt
            )
        )

    assert found == [
        ("claimed", 1, "fcm_internal"), ("failed", 2, "payload_refused"), ("dispatched", 3, None)
    ]  # fmt: skip
