"""The nightly reminders against a real database: who is told, once, and what the counts say."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from handlers.texts import Audience
from sagas import queries
from sagas.reminders import run_reminders
from sagas.results import OrchestrationResult as Counts
from sagas.statements import statement
from sagas.tiers import Tier

if TYPE_CHECKING:
    from uuid import UUID

    from sagas.run import Organisation
    from tests.sagas.world import World

MENTOR, COORDINATOR = Audience.MENTOR, Audience.COORDINATOR


async def five(world: World, organisation: Organisation) -> list[UUID]:
    """Mentors at the five places of the worked example."""
    return [await world.mentor(organisation, days=days) for days in (60, 30, 7, -1, 61)]


async def refuse(world: World, table: str, mentor: UUID) -> None:
    """Let the database refuse rows about one mentor: a record that raises."""
    await world.conn.execute(
        f"create function refuse_{table}() returns trigger language plpgsql as $$"
        f" begin if new.mentor_id = '{mentor}' then raise exception 'refused'; end if;"
        f" return new; end $$;"
        f" create trigger refuse before insert on {table} for each row"
        f" execute function refuse_{table}()"
    )


async def events(world: World, organisation: Organisation, name: str) -> list[Any]:
    """Run the reminders and return the log entries called `name`."""
    with capture_logs() as logs:
        await world.remind(organisation)
    return [entry for entry in logs if entry["event"] == name]


async def test_four_tiers_fire_once_and_the_same_batch_again_creates_nothing(world: World) -> None:
    """T2.2, T2.4, T2.5, T2.6, T0.7, RES-1, REC-1: the worked tier run, exactly; then none."""
    organisation = await world.organisation()
    await five(world, organisation)

    first = await world.remind(organisation, MENTOR)
    again = await world.remind(organisation, MENTOR)

    assert first == Counts(processed=5, created=4, queued=4, not_due=1)
    assert again == Counts(processed=5, skipped=4, not_due=1)
    tiers = await world.rows(
        "select i.tier, i.kind, g.kind as group_kind, g.status from notification_items i"
        " join notification_groups g on g.id = i.group_id order by i.tier"
    )
    assert [(row["tier"], row["kind"], row["status"]) for row in tiers] == [
        ("30", "cert_expiry_reminder", "queued"),
        ("60", "cert_expiry_reminder", "queued"),
        ("7", "cert_expiry_reminder", "queued"),
        ("lapsed", "cert_lapsed", "queued"),
    ]
    assert len(await world.requested()) == 4
    assert await world.value("select count(*) from cert_notification_log") == 4


async def test_a_mentor_without_a_device_is_created_but_not_queued(world: World) -> None:
    """PUSH-10: the group exists, so the inbox row will; an invalid or silent device is none."""
    organisation = await world.organisation()
    await world.mentor(organisation, days=30)
    for device in ({"invalid": True}, {"silent_days": 271}):
        mentor = await world.mentor(organisation, days=30, device=False)
        await world.device(mentor, **device)

    found = await world.remind(organisation, MENTOR)

    assert found == Counts(processed=3, created=3, queued=1, no_token=2)
    assert len(await world.requested()) == 3


async def test_the_worked_tier_run_with_one_mentor_without_a_device(world: World) -> None:
    """RES-1, PUSH-10, the worked tier run: created 4, queued 3, no_token 1."""
    organisation = await world.organisation()
    for days in (60, 30, 7, 61):
        await world.mentor(organisation, days=days)
    await world.mentor(organisation, days=-1, device=False)

    found = await world.remind(organisation, MENTOR)

    assert found == Counts(processed=5, created=4, queued=3, no_token=1, not_due=1)


@pytest.mark.parametrize(
    "table", ["cert_expiry_reminders", "notification_items", "cert_notification_log"]
)
async def test_one_record_that_raises_leaves_the_others_running(world: World, table: str) -> None:
    """T2.3, ARC-2, D-7: whichever statement it breaks, it alone fails, is logged, is made up."""
    organisation = await world.organisation()
    mentors = await five(world, organisation)
    await refuse(world, table, mentors[1])

    with capture_logs() as logs:
        found = await world.remind(organisation, MENTOR)

    assert found == Counts(processed=5, created=3, queued=3, failed=1, not_due=1)
    (entry,) = [log for log in logs if log["log_level"] == "error"]
    assert str(mentors[1]) in str(entry)
    assert "refused" not in str(entry).replace("group.refused", "")
    if table == "cert_expiry_reminders":
        assert entry["certificate_type"] == "basic"
    await world.conn.execute(f"drop trigger refuse on {table}")
    healed = await world.remind(organisation, MENTOR)
    assert healed == Counts(processed=5, skipped=3, created=1, queued=1, not_due=1)


async def test_a_certificate_without_expiry_counts_as_failed(world: World) -> None:
    """ELG-4."""
    organisation = await world.organisation()
    mentor = await world.mentor(organisation, days=30)
    await world.certificate(organisation, mentor, days=None, kind="first_aid")

    with capture_logs() as logs:
        found = await world.remind(organisation, MENTOR)

    assert found == Counts(processed=2, created=1, queued=1, failed=1)
    assert [
        log["certificate_type"] for log in logs if log["event"] == "reminder.record_unusable"
    ] == ["first_aid"]


async def test_only_the_certificate_that_counts_is_looked_at(world: World) -> None:
    """ELG-1, ELG-2: renewed and revoked ones, and inactive mentors, are silent."""
    organisation = await world.organisation()
    renewed = await world.mentor(organisation, days=-1)
    await world.certificate(organisation, renewed, days=400)
    revoked = await world.mentor(organisation, days=30)
    await world.conn.execute(
        "update certifications set revoked_at = now() where mentor_id = %s", [revoked]
    )
    await world.mentor(organisation, days=30, status="inactive")
    await world.mentor(organisation, days=30, status="paused")
    twin = await world.mentor(organisation, days=30)
    await world.certificate(organisation, twin, days=30)

    found = await world.remind(organisation, MENTOR)

    assert found == Counts(processed=3, created=2, queued=2, not_due=1)


async def test_small_pages_find_the_same(world: World) -> None:
    """Keyset pages lose nothing at their edges."""
    organisation = await world.organisation()
    for _ in range(7):
        mentor = await world.mentor(organisation, days=30)
        await world.certificate(organisation, mentor, days=7, kind="first_aid")

    found = await world.remind(organisation, MENTOR, page_size=3)

    assert found == Counts(processed=14, created=14, queued=14)


async def test_the_escalation_of_a_coordinator_over_the_nights(world: World) -> None:
    """T1.1, T1.2, T1.3, T1.4, the worked next night: 30, silence, 14, 7, lapsed; each once."""
    organisation = await world.organisation()
    chapter = await world.chapter(organisation)
    await world.coordinator(organisation, chapter)
    await world.mentor(organisation, chapter, days=31)

    fired = {}
    for night in range(34):
        found = await world.remind(organisation, COORDINATOR)
        if found.created:
            fired[31 - night] = found.created
        await world.pass_days(1)

    assert fired == {30: 1, 14: 1, 7: 1, -1: 1}
    tiers = await world.rows(
        "select threshold_tier from cert_expiry_reminders order by created_at, threshold_tier"
    )
    assert [row["threshold_tier"] for row in tiers] == ["30", "14", "7", "lapsed"]


async def test_the_worked_next_night(world: World) -> None:
    """T1.1, T1.2, T1.3, DED-2: 30 fires, 29 is skipped, 14 opens a new window and fires."""
    organisation = await world.organisation()
    chapter = await world.chapter(organisation)
    await world.coordinator(organisation, chapter)
    await world.mentor(organisation, chapter, days=30)

    nights = []
    for passed in (0, 1, 15):
        await world.pass_days(passed)
        nights.append(await world.remind(organisation, COORDINATOR))

    once = Counts(processed=1, created=1, queued=1)
    assert nights == [once, Counts(processed=1, skipped=1), once]
    windows = await world.rows(
        "select threshold_tier, certification_expiry_date - notification_window_start as opened"
        " from cert_expiry_reminders order by created_at"
    )
    assert [tuple(row.values()) for row in windows] == [("30", 30), ("14", 14)]


async def test_a_missed_night_is_made_up_and_passed_tiers_are_not(world: World) -> None:
    """TIER-5, TIER-6: first seen at 10 days, only the 14-day tier of today fires."""
    organisation = await world.organisation()
    await world.coordinator(organisation)
    await world.mentor(organisation, days=10)

    await world.remind(organisation, COORDINATOR)

    assert await world.value("select threshold_tier from cert_expiry_reminders") == "14"


async def test_three_entries_at_30_14_and_7_and_none_again(world: World) -> None:
    """T1.7, ARC-7: through the view that reports read, under the names they know."""
    organisation = await world.organisation()
    chapter = await world.chapter(organisation)
    coordinator = await world.coordinator(organisation, chapter)
    for days in (30, 14, 7):
        await world.mentor(organisation, chapter, days=days)

    first = await world.remind(organisation, COORDINATOR)
    again = await world.remind(organisation, COORDINATOR)

    entries = await world.rows(
        "select coordinator_id, threshold_day, status from reminder_dispatch_log"
        " order by threshold_day"
    )
    assert [tuple(row.values()) for row in entries] == [
        (coordinator, day, "queued") for day in (7, 14, 30)
    ]
    assert (first.created, first.queued) == (3, 1)
    assert (again.created, again.skipped, again.queued) == (0, 3, 0)


async def test_two_mentors_of_one_coordinator_are_two_rows_and_one_push(world: World) -> None:
    """GRP-5, T0.4."""
    organisation = await world.organisation()
    chapter = await world.chapter(organisation)
    coordinator = await world.coordinator(organisation, chapter)
    for days in (30, 5):
        await world.mentor(organisation, chapter, days=days)

    found = await world.remind(organisation, COORDINATOR)

    assert (found.created, found.queued) == (2, 1)
    (group,) = await world.rows("select id, recipient_id, kind from notification_groups")
    assert (group["recipient_id"], group["kind"]) == (coordinator, "coordinator_digest")
    assert await world.requested() == [group["id"]]
    items = await world.rows("select tier from notification_items order by position")
    assert [item["tier"] for item in items] == ["7", "30"]
    logged = await world.rows("select dispatch_group_id, recipient_step from cert_notification_log")
    assert [tuple(row.values()) for row in logged] == [(group["id"], 2)] * 2


async def test_t1_6_an_item_that_cannot_be_built_fails_alone(world: World) -> None:
    """T1.5, T1.6, GRP-4: the 30-day group fails in part; all others go out; it is made up."""
    organisation = await world.organisation()
    chapter = await world.chapter(organisation)
    await world.coordinator(organisation, chapter)
    await world.policy(organisation, "coordinator", [30, 14, 7], grouping="per_tier")
    await world.flag(organisation)
    mentors = [await world.mentor(organisation, chapter, days=days) for days in (30, 29, 14, 7)]
    await refuse(world, "notification_items", mentors[0])

    found = await world.remind(organisation, COORDINATOR)

    assert (found.created, found.failed, found.queued) == (3, 1, 3)
    told = await world.rows(
        "select g.kind, i.tier, i.mentor_id from notification_items i"
        " join notification_groups g on g.id = i.group_id order by i.tier"
    )
    assert [tuple(row.values()) for row in told] == [
        ("cert_expiry_reminder", tier, mentor)
        for tier, mentor in zip(
            ("14", "30", "7"), (mentors[2], mentors[1], mentors[3]), strict=True
        )
    ]
    await world.conn.execute("drop trigger refuse on notification_items")
    healed = await world.remind(organisation, COORDINATOR)
    assert (healed.created, healed.skipped, healed.failed) == (1, 3, 0)


async def test_a_digest_goes_out_without_the_item_it_cannot_hold(world: World) -> None:
    """GRP-4, T1.5: one coordinator, three mentors, one of them refused; the other two are told."""
    organisation = await world.organisation()
    chapter = await world.chapter(organisation)
    await world.coordinator(organisation, chapter)
    mentors = [await world.mentor(organisation, chapter, days=days) for days in (30, 14, 7)]
    await refuse(world, "cert_notification_log", mentors[1])

    found = await world.remind(organisation, COORDINATOR)

    assert (found.created, found.failed, found.queued) == (2, 1, 1)
    (group,) = await world.rows("select id, kind from notification_groups")
    assert await world.requested() == [group["id"]]
    assert group["kind"] == "coordinator_digest"
    items = await world.rows("select mentor_id from notification_items order by position")
    assert [item["mentor_id"] for item in items] == [mentors[2], mentors[0]]


async def test_a_recipient_whose_group_is_refused_leaves_the_others_told(world: World) -> None:
    """GRP-4: no item of his group can be built, and nobody else's push is lost."""
    organisation = await world.organisation()
    for name in ("X", "Y"):
        chapter = await world.chapter(organisation, name)
        gone = await world.coordinator(organisation, chapter)
        for days in (30, 7):
            await world.mentor(organisation, chapter, days=days)
    await world.conn.execute(
        f"alter table notification_groups add constraint nobody check (recipient_id <> '{gone}')"
    )

    found = await world.remind(organisation, COORDINATOR)

    assert (found.created, found.failed, found.queued) == (2, 2, 1)
    told = await world.rows("select recipient_id from notification_groups")
    assert gone not in {row["recipient_id"] for row in told}
    assert await world.value("select count(*) from cert_expiry_reminders") == 2


async def test_two_runs_at_the_same_moment_send_once(world: World) -> None:
    """T0.9: two real connections; the second one ends cleanly and sends nothing."""
    organisation = await world.organisation()
    await world.coordinator(organisation)
    for _ in range(20):
        await world.mentor(organisation, days=30)

    first, second = await asyncio.gather(world.remind(organisation), world.remind(organisation))

    assert sorted([first.created, second.created]) == [0, 40]
    assert sorted([first.skipped, second.skipped]) == [0, 40]
    assert len(await world.requested()) == 21


async def test_the_constraint_alone_decides_a_race(world: World) -> None:
    """DED-3: without any lock the later claim waits for the earlier one and gets no row."""
    organisation = await world.organisation()
    mentor = await world.mentor(organisation)
    certificate = await world.certificate(organisation, mentor, days=30)
    day = world.day(organisation, 30)
    reminder = queries.Reminder(
        mentor, certificate, "basic", day, tier=Tier(30), window_start=day, window_date=day
    )
    async with world.transaction() as conn:
        won = await queries.claim_reminders(
            conn, organisation.id, MENTOR, [reminder], run=world.run()
        )
        late = asyncio.create_task(_claim(world, organisation, reminder))
        await _until_somebody_waits(world)
        assert not late.done()
    assert list(won) == [certificate]
    assert await late == {}


async def test_a_renewal_in_place_opens_a_new_period(world: World) -> None:
    """DED-11: the date changes on the same row, and its tiers fire again in their time."""
    organisation = await world.organisation()
    mentor = await world.mentor(organisation, days=30)
    await world.remind(organisation, MENTOR)
    await world.conn.execute(
        "update certifications set expiry_date = expiry_date + 365 where mentor_id = %s", [mentor]
    )
    assert (await world.remind(organisation, MENTOR)).not_due == 1
    await world.pass_days(365)

    assert (await world.remind(organisation, MENTOR)).created == 1


async def test_two_certificates_of_one_mentor_in_one_tier_are_two_reminders(world: World) -> None:
    """DED-1, D-4: the key tells certificates apart."""
    organisation = await world.organisation()
    mentor = await world.mentor(organisation, days=30)
    await world.certificate(organisation, mentor, days=30, kind="first_aid")

    assert (await world.remind(organisation, MENTOR)).created == 2


async def test_per_run_date_fires_the_next_night_but_not_twice_a_day(world: World) -> None:
    """DED-2, D-2: the opt-in cadence."""
    organisation = await world.organisation()
    await world.coordinator(organisation)
    await world.policy(organisation, "coordinator", [30], cadence="per_run_date")
    await world.flag(organisation)
    await world.mentor(organisation, days=29)

    created = []
    for hours in (0, 10, 14, 24):
        await world.at(world.now + timedelta(hours=hours))
        created.append((await world.remind(organisation, COORDINATOR)).created)

    assert created == [1, 0, 1, 1]


async def test_the_guard_stops_a_second_push_within_20_hours(world: World) -> None:
    """DED-7, T2.12: a corrected date is a new period, but not a new push on the same day."""
    organisation = await world.organisation()
    mentor = await world.mentor(organisation, days=30)
    await world.remind(organisation, MENTOR)
    await world.settle("delivered", attempts=1)
    await world.conn.execute(
        "update certifications set expiry_date = expiry_date - 1 where mentor_id = %s", [mentor]
    )
    await world.at(world.now + timedelta(hours=10))

    with capture_logs() as logs:
        guarded = await world.remind(organisation, MENTOR)
    await world.at(world.now + timedelta(hours=11))
    later = await world.remind(organisation, MENTOR)

    assert guarded == Counts(processed=1, skipped=1)
    (hit,) = [log for log in logs if log["event"] == "duplicate_dispatch_attempt"]
    assert (hit["mentor_id"], hit["tier"]) == (str(mentor), "30")
    assert hit["run_id"] != hit["earlier_run_id"]
    assert later.created == 1


async def test_the_guard_lets_a_new_push_follow_one_that_failed(world: World) -> None:
    """DED-7: what reached nobody keeps nobody from being told."""
    organisation = await world.organisation()
    mentor = await world.mentor(organisation, days=30)
    await world.remind(organisation, MENTOR)
    await world.settle("failed", error="fcm_unavailable")
    await world.conn.execute(
        "update certifications set expiry_date = expiry_date - 1 where mentor_id = %s", [mentor]
    )
    await world.at(world.now + timedelta(hours=10))

    assert (await world.remind(organisation, MENTOR)).created == 1


async def test_a_second_run_on_one_day_names_both_runs(world: World) -> None:
    """DED-8: for the alerting rule; the next day's skip is no attempt."""
    organisation = await world.organisation()
    await world.mentor(organisation, days=30)
    await world.remind(organisation)

    same_day = await events(world, organisation, "duplicate_dispatch_attempt")
    await world.pass_days(1)
    next_day = await events(world, organisation, "duplicate_dispatch_attempt")

    assert len(same_day) == 1
    assert next_day == []


async def test_a_failed_push_is_tried_again_on_the_same_row_while_it_may(world: World) -> None:
    """DED-10: three attempts a run and nine in all; then the row expires."""
    organisation = await world.organisation()
    await world.mentor(organisation, days=30)
    await world.remind(organisation, MENTOR)

    found = []
    for _ in range(3):
        await world.settle("failed", error="fcm_unavailable")
        await world.pass_days(1)
        found.append(await world.remind(organisation, MENTOR))

    again = Counts(processed=1, retried=1)
    assert found == [again, again, Counts(processed=1, skipped=1)]
    (group,) = set(await world.requested())
    assert await world.requested("push.requested") == [group, group]
    (row,) = await world.rows("select status, attempts from cert_notification_log")
    assert (row["status"], row["attempts"]) == ("expired", 9)
    assert await world.value("select status from notification_groups") == "expired"


async def test_a_failed_push_expires_with_its_tier_and_a_permanent_one_stays(world: World) -> None:
    """DED-10: never sent late; what no run can cure stays visible as failed."""
    organisation = await world.organisation()
    await world.mentor(organisation, days=8)
    await world.remind(organisation, MENTOR)
    await world.settle("failed", error="fcm_unavailable")
    await world.pass_days(1)
    moved_on = await world.remind(organisation, MENTOR)
    await world.settle("failed", error="payload_refused:message.data")
    await world.pass_days(1)
    incurable = await world.remind(organisation, MENTOR)

    assert (moved_on.created, moved_on.retried) == (1, 0)
    assert (incurable.skipped, incurable.retried) == (1, 0)
    rows = await world.rows(
        "select threshold_tier, status from cert_notification_log order by threshold_days desc"
    )
    assert [tuple(row.values()) for row in rows] == [("30", "expired"), ("7", "failed")]


@pytest.mark.parametrize(
    ("setting", "step"),
    [
        ("assigned", 1),
        ("chapter", 2),
        ("chapter_admin", 3),
        ("organisation", 4),
        ("inactive", 5),
        ("nobody", 5),
    ],
)
async def test_the_chain_of_recipients(world: World, setting: str, step: int) -> None:
    """REC-2, REC-3, REC-4, T2.14, T4.8: who stands in is told, warned about, kept as a finding."""
    organisation = await world.organisation()
    chapter, elsewhere = [await world.chapter(organisation, name) for name in ("X", "Y")]
    mentor = await world.mentor(organisation, chapter, days=30)
    match setting:
        case "assigned":
            someone = await world.coordinator(organisation, elsewhere)
            await world.assign(mentor, someone)
        case "chapter":
            someone = await world.coordinator(organisation, chapter)
        case "chapter_admin":
            someone = await world.coordinator(organisation, chapter, role="chapter_admin")
        case "organisation":
            someone = await world.coordinator(organisation, elsewhere)
        case "inactive":
            gone = await world.coordinator(organisation, chapter, active=False)
            await world.assign(mentor, gone)
        case _:
            await world.coordinator(organisation, chapter, user=mentor)

    with capture_logs() as logs:
        found = await world.remind(organisation, COORDINATOR)

    missing = step > 2
    warned = [log for log in logs if log["event"] == "missing_coordinator_assignment"]
    findings = await world.rows("select mentor_id, step from data_quality_findings")
    assert [(log["mentor_id"], log["step"]) for log in warned] == [(str(mentor), step)] * missing
    assert [tuple(row.values()) for row in findings] == [(mentor, step)] * missing
    assert found.missing_coordinator == missing
    if step == 5:
        assert found == Counts(processed=1, skipped=1, missing_coordinator=1)
        await world.coordinator(organisation, chapter)
        assert (await world.remind(organisation, COORDINATOR)).created == 1
    else:
        (row,) = await world.rows("select recipient_id, recipient_step from cert_notification_log")
        assert tuple(row.values()) == (someone, step)


async def test_a_mentor_of_two_chapters_tells_a_shared_coordinator_once(world: World) -> None:
    """REC-3 and the worked event: Anna and Bo in X, Anna and Cid in Y, Bo without device."""
    organisation = await world.organisation("NHF", visibility_channel="none")
    x, y = [await world.chapter(organisation, name) for name in ("X", "Y")]
    anna = await world.coordinator(organisation, x, y)
    bo = await world.coordinator(organisation, x, device=False)
    cid = await world.coordinator(organisation, y)
    await world.mentor(organisation, x, y, days=30)

    found = await world.remind(organisation, COORDINATOR)

    assert found == Counts(processed=1, created=1, queued=2, no_token=1)
    told = await world.rows("select recipient_id from notification_groups")
    assert {row["recipient_id"] for row in told} == {anna, bo, cid}
    assert len(told) == 3


async def test_own_thresholds_follow_the_configuration_and_its_flag(world: World) -> None:
    """T1.11, CFG-1, CFG-3: no code changes, only rows."""
    organisation = await world.organisation()
    await world.coordinator(organisation)
    await world.policy(organisation, "coordinator", [60, 30, 14, 7])
    await world.mentor(organisation, days=60)

    off = await world.remind(organisation, COORDINATOR)
    await world.flag(organisation)
    on = await world.remind(organisation, COORDINATOR)

    assert (off.created, off.not_due, on.created) == (0, 1, 1)


async def test_an_invalid_policy_means_defaults_and_an_alert(world: World) -> None:
    """CFG-5: the other audience and the other organisations do not notice."""
    organisation = await world.organisation()
    await world.conn.execute(
        "alter table notification_policies drop constraint notification_policies_thresholds_descend"
    )
    await world.policy(organisation, "mentor", [7, 30])
    await world.flag(organisation)
    await world.mentor(organisation, days=60)

    assert (await world.remind(organisation, MENTOR)).created == 1
    alert = await world.value(
        "select payload ->> 'type' from outbox.message where topic = 'alert.open'"
    )
    assert alert == "invalid_policy"


async def test_a_first_deployment_does_not_flood(world: World) -> None:
    """ELG-3: lapses before go-live or longer than a month ago are no news."""
    organisation = await world.organisation(go_live_date=world.now.date() - timedelta(days=5))
    for days in (-1, -6, -7, -40):
        await world.mentor(organisation, days=days)

    found = await world.remind(organisation, MENTOR)

    assert found == Counts(processed=4, created=2, queued=2, not_due=2)


async def test_the_lapse_of_a_certificate_follows_oslo_and_not_utc(world: World) -> None:
    """TIER-9: at 23:30 UTC the last valid day is over in Oslo and goes on in UTC."""
    oslo = await world.organisation("OSL")
    utc = await world.organisation("UTC", timezone="UTC")
    await world.at(datetime(2026, 4, 1, 23, 30, tzinfo=UTC))
    for organisation in (oslo, utc):
        mentor = await world.mentor(organisation)
        await world.conn.execute(
            "insert into certifications (mentor_id, certificate_type, expiry_date)"
            " values (%s, 'basic', '2026-04-01')",
            [mentor],
        )
        await world.remind(organisation, MENTOR)

    rows = await world.rows(
        "select o.code, r.threshold_tier from cert_expiry_reminders r"
        " join organisations o on o.id = r.organisation_id order by o.code"
    )
    assert [tuple(row.values()) for row in rows] == [("OSL", "lapsed"), ("UTC", "7")]


async def test_a_run_costs_the_same_number_of_statements_for_2_and_for_40(world: World) -> None:
    """REC-5, PRF-4: nothing is asked per mentor."""
    spent = []
    for count in (2, 40):
        organisation = await world.organisation(f"ORG{count}")
        chapter = await world.chapter(organisation)
        await world.coordinator(organisation, chapter)
        for _ in range(count):
            await world.mentor(organisation, chapter, days=30)
        spent.append(await _statements(world, organisation))
    assert spent[0] == spent[1]


async def test_the_pre_check_uses_the_named_index(world: World) -> None:
    """T2.9, DED-4, PRF-3: the deployment check by EXPLAIN, on a table with rows."""
    organisation = await world.organisation()
    mentor = await world.mentor(organisation)
    await world.conn.execute(
        "insert into cert_expiry_reminders (organisation_id, audience, mentor_id, certification_id,"
        " certificate_type, threshold_day, threshold_tier, certification_expiry_date,"
        " notification_window_start, notification_window_date)"
        " select %s, 'mentor', %s, gen_random_uuid(), 'basic', 30, '30', day, day - 30, day - 30"
        " from generate_series(date '2020-01-01', date '2026-01-01', interval '1 day') as d,"
        " lateral (select d::date as day) as x",
        [organisation.id, mentor],
    )
    await world.conn.execute("analyze cert_expiry_reminders")
    names = ("mentor_ids", "certification_ids", "certificate_types", "tiers", "expiry_dates")
    params: dict[str, list[object]] = {
        name: [] for name in (*names, "window_starts", "window_dates")
    }
    plan = await world.conn.execute(
        "explain " + statement("fired_reminders"), {**params, "audience": "mentor"}
    )
    assert "cert_expiry_reminders_tier_idx" in str(await plan.fetchall())


async def _claim(
    world: World, organisation: Organisation, reminder: queries.Reminder
) -> dict[UUID, UUID]:
    async with world.transaction() as conn:
        return await queries.claim_reminders(
            conn, organisation.id, MENTOR, [reminder], run=world.run()
        )


async def _until_somebody_waits(world: World) -> None:
    """Until another session of this database waits for a lock."""
    waiting = 0
    while not waiting:
        waiting = await world.value(
            "select count(*) from pg_stat_activity"
            " where datname = current_database() and wait_event_type = 'Lock'"
        )


async def _statements(world: World, organisation: Organisation) -> int:
    """How many statements one run sends."""
    sent = 0

    async with world.transaction() as conn:
        execute = conn.execute

        async def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal sent
            sent += 1
            return await execute(*args, **kwargs)

        conn.execute = counted  # type: ignore[method-assign]
        await run_reminders(conn, organisation, world.run())
    return sent
