"""Reconciliation: a pure table of verdicts, and what is done about them."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from sagas.queries_reconcile import OurState
from sagas.reconcile import Listing, PortalRow, ReconciliationReport, csv_rows, reconcile
from sagas.verdicts import EXPECTED_SYNC_LAG, Action, Verdict, verdict
from tests.sagas.world import NOW

if TYPE_CHECKING:
    from sagas.run import Organisation
    from tests.sagas.world import World

MENTOR = UUID(int=1)
SOON, LATE = EXPECTED_SYNC_LAG, EXPECTED_SYNC_LAG + timedelta(seconds=1)


def ours(version: int, *, visible: bool, pending: bool = False) -> OurState:
    """What we want."""
    return OurState(MENTOR, version, visible, NOW, pending)


def theirs(version: int, *, visible: bool, published: bool | None = None) -> PortalRow:
    """What the portal stores; published as stored unless said otherwise."""
    shown = visible if published is None else published
    return PortalRow(MENTOR, version, visible, version, shown)


HIDDEN, SHOWN = ours(7, visible=False), ours(7, visible=True)


@pytest.mark.parametrize(
    ("mine", "portal", "lag", "expected"),
    [
        (HIDDEN, theirs(7, visible=False), LATE, "in_sync"),
        (HIDDEN, PortalRow(MENTOR, 7, visible=False), LATE, "in_sync"),
        (HIDDEN, theirs(7, visible=False, published=True), SOON, "lagging"),
        (HIDDEN, theirs(7, visible=False, published=True), LATE, "not_published"),
        (SHOWN, PortalRow(MENTOR, 7, visible=True), LATE, "not_published"),
        (ours(7, visible=False, pending=True), theirs(6, visible=True), SOON, "pending"),
        (ours(7, visible=False, pending=True), theirs(6, visible=True), LATE, "behind"),
        (HIDDEN, theirs(6, visible=True), SOON, "behind"),
        (HIDDEN, theirs(7, visible=True), SOON, "conflict"),
        (HIDDEN, theirs(8, visible=False), SOON, "ahead"),
        (HIDDEN, None, LATE, "in_sync_absent"),
        (SHOWN, None, LATE, "missing"),
        (SHOWN, None, SOON, "pending"),
        (None, theirs(3, visible=True), LATE, "orphan"),
        (None, theirs(3, visible=False, published=True), LATE, "orphan"),
        (None, theirs(3, visible=False), LATE, "in_sync_absent"),
    ],
)
def test_the_table_of_verdicts(
    mine: OurState | None, portal: PortalRow | None, lag: timedelta, expected: str
) -> None:
    """RCN-2, row by row."""
    assert verdict(mine, portal, lag=lag).value == expected


def test_nothing_on_both_sides_is_no_verdict() -> None:
    """A mistake of the caller."""
    with pytest.raises(ValueError, match="neither"):
        verdict(None, None, lag=SOON)


async def settled(world: World, organisation: Organisation, *, visible: bool) -> UUID:
    """A mentor of ours whose state has stood for an hour at version 5."""
    mentor = await world.mentor(organisation, days=100 if visible else None, status="active")
    await world.conn.execute(
        "update peer_mentors set visibility_version = 5, visibility_changed_at = %s,"
        " suppression_status = %s where id = %s",
        [world.now - timedelta(hours=1), "none" if visible else "manual", mentor],
    )
    return mentor


async def compare(
    world: World, organisation: Organisation, listing: Listing, **terms: Any
) -> ReconciliationReport:
    """One committed reconciliation at the world's now."""
    async with world.transaction() as conn:
        return await reconcile(conn, listing, organisation, world.now, **terms)


async def drifted(world: World, organisation: Organisation) -> dict[str, UUID]:
    """One mentor for every verdict that can be had without waiting, and their listing's names."""
    found = {name: await settled(world, organisation, visible=False) for name in ("danger", "fine")}
    for name in ("behind", "missing", "conflict", "ahead"):
        found[name] = await settled(world, organisation, visible=True)
    found["orphan"] = uuid4()
    return found


def listing(of: dict[str, UUID], *, complete: bool = True, at: datetime = NOW) -> Listing:
    """The portal's side of `drifted`."""
    return Listing(
        complete,
        (
            PortalRow(of["danger"], 5, visible=False, published_version=4, published_visible=True),
            PortalRow(of["fine"], 5, visible=False, published_version=5, published_visible=False),
            PortalRow(of["behind"], 4, visible=True, published_version=4, published_visible=True),
            PortalRow(of["conflict"], 5, visible=False),
            PortalRow(of["ahead"], 9, visible=True, published_version=9, published_visible=True),
            PortalRow(of["orphan"], 1, visible=True, published_version=1, published_visible=True),
        ),
        at,
    )


async def test_two_organisations_on_one_portal_read_each_of_its_own(world: World) -> None:
    """RCN-2, RCN-4: a mentor of the other is no orphan here; one whose organisation has left is."""
    hlf, nhf = await world.organisation("HLF"), await world.organisation("NHF")
    gone = await world.organisation("LHL", visibility_channel="none")
    mentors = [await settled(world, each, visible=True) for each in (hlf, nhf, gone)]
    rows = [
        PortalRow(mentor, 4, visible=True, published_version=4, published_visible=True)
        for mentor in mentors
    ]

    reports = [await compare(world, each, Listing(True, rows, NOW)) for each in (hlf, nhf)]

    for report, mentor in zip(reports, mentors, strict=False):
        assert {item.mentor_id: item.verdict for item in report.items} == {
            mentor: Verdict.BEHIND, mentors[2]: Verdict.ORPHAN,
        }  # fmt: skip
        assert report.totals == {"behind": 1, "orphan": 1}


async def test_drift_is_repaired_danger_first_and_orphans_only_reported(world: World) -> None:
    """RCN-3, RCN-8, T1.10."""
    organisation = await world.organisation()
    of = await drifted(world, organisation)

    report = await compare(world, organisation, listing(of))

    assert report.totals == {
        "not_published": 1, "in_sync": 1, "behind": 1, "missing": 1, "conflict": 1, "ahead": 1,
        "orphan": 1,
    }  # fmt: skip
    assert report.items[0].mentor_id == of["danger"]
    actions = {item.mentor_id: (item.action, item.event_id) for item in report.items}
    assert actions == {
        of["danger"]: (Action.RESENT, 6),
        of["behind"]: (Action.RESENT, 6),
        of["missing"]: (Action.RESENT, 6),
        of["conflict"]: (Action.RAISE_REQUESTED, None),
        of["ahead"]: (Action.RAISE_REQUESTED, None),
        of["orphan"]: (Action.NONE, None),
    }
    assert (report.repaired, report.drift, report.complete) == (5, True, True)
    raised = await world.rows(
        "select payload ->> 'mentor_id' as id, payload ->> 'returned_version' as version"
        " from outbox.message where topic = 'visibility.ahead'"
    )
    assert {(row["id"], row["version"]) for row in raised} == {
        (str(of["conflict"]), "5"),
        (str(of["ahead"]), "9"),
    }
    kept = await world.rows("select verdict, action from reconciliation_items order by verdict")
    assert len(kept) == 6
    (stored,) = await world.rows("select totals, repaired, complete from reconciliation_reports")
    assert tuple(stored.values()) == (report.totals, 5, True)
    seen = await world.rows(
        "select observed_version, observed_published from portal_sync_state where mentor_id = %s",
        of["danger"],
    )
    assert [tuple(row.values()) for row in seen] == [(5, True)]


async def test_who_agrees_while_an_alert_is_open_is_told_to_his_saga(world: World) -> None:
    """P10: an alert whose cause is gone is closed by the next report; others are left alone."""
    organisation = await world.organisation()
    fine, quiet, lost = [await settled(world, organisation, visible=False) for _ in range(3)]
    await world.conn.execute(
        "insert into dashboard_alerts (type, organisation_id, mentor_id, subject, text)"
        " select unnest(%s::text[]), %s, id, 'mentor:' || id, 'text' from peer_mentors",
        [["dynamics_sync_pending", "duplicate_dispatch"], organisation.id],
    )
    await world.conn.execute("delete from dashboard_alerts where mentor_id = %s", [quiet])
    rows = [PortalRow(each, 5, visible=False, published_visible=False) for each in (fine, quiet)]
    told = (
        "select payload ->> 'mentor_id' as id, payload ->> 'version' as version,"
        " payload -> 'alerts' as alerts, key from outbox.message where topic = 'visibility.in_sync'"
    )

    await compare(world, organisation, Listing(complete=True, rows=rows), dry_run=True)
    assert await world.rows(told) == []
    await compare(world, organisation, Listing(complete=False, rows=rows))
    assert [tuple(row.values()) for row in await world.rows(told)] == [
        (str(fine), "5", ["dynamics_sync_pending"], f"mentor:{fine}")
    ]
    await compare(world, organisation, Listing(complete=True, rows=rows))
    assert {row["id"] for row in await world.rows(told)} == {str(fine), str(lost)}


async def test_an_incomplete_listing_repairs_nothing_that_is_only_missing(world: World) -> None:
    """RCN-3: absence proves nothing then; what was seen is repaired all the same."""
    organisation = await world.organisation()
    of = await drifted(world, organisation)

    report = await compare(world, organisation, listing(of, complete=False))

    actions = {item.mentor_id: item.action for item in report.items}
    assert actions[of["missing"]] is Action.NONE
    assert actions[of["behind"]] is Action.RESENT
    assert not report.complete


async def test_a_dry_run_changes_nothing_and_says_what_it_would(world: World) -> None:
    """The report is kept and marked."""
    organisation = await world.organisation()
    of = await drifted(world, organisation)

    report = await compare(world, organisation, listing(of), dry_run=True)

    assert report.repaired == 0
    assert {item.action for item in report.items} == {
        Action.PLANNED_RESEND,
        Action.PLANNED_RAISE,
        Action.NONE,
    }
    assert await world.value("select max(visibility_version) from peer_mentors") == 5
    assert await world.value("select dry_run from reconciliation_reports")


async def test_repairs_are_bounded_and_the_danger_is_within_the_bound(world: World) -> None:
    """What is beyond waits for the next report."""
    organisation = await world.organisation()
    of = await drifted(world, organisation)

    report = await compare(world, organisation, listing(of), repairs_max=1)

    actions = [item.action for item in report.items]
    assert actions.count(Action.RESENT) == 1
    assert actions.count(Action.DEFERRED) == 4
    assert report.items[0].action is Action.RESENT


async def test_a_version_under_way_is_pending_and_left_alone(world: World) -> None:
    """A delivery outstanding within the allowance is no drift; after a repair neither."""
    await world.route("visibility.changed", "portal")
    organisation = await world.organisation()
    of = await drifted(world, organisation)
    await compare(world, organisation, listing(of))
    await world.at(world.now + timedelta(minutes=5))

    again = await compare(world, organisation, listing(of, at=world.now))

    verdicts = {item.mentor_id: item.verdict for item in again.items}
    assert verdicts[of["danger"]] is Verdict.PENDING
    assert verdicts[of["behind"]] is Verdict.PENDING
    assert verdicts[of["missing"]] is Verdict.PENDING


async def test_a_lapse_nobody_swept_yet_counts_from_its_midnight(world: World) -> None:
    """VIS-1: our wanted state changes with the date, without a version."""
    organisation = await world.organisation()
    mentor = await world.mentor(organisation, days=0)
    await world.conn.execute("update peer_mentors set visibility_version = 1")
    await world.pass_days(1)

    report = await compare(
        world, organisation, Listing(True, (PortalRow(mentor, 1, visible=True),), world.now)
    )

    (item,) = report.items
    assert (item.verdict, item.our_visible) == (Verdict.CONFLICT, False)
    assert item.lag_seconds == 65 * 60  # 00:05 UTC is 01:05 in Oslo


async def test_planted_duplicates_are_found_by_natural_key_and_alerted(world: World) -> None:
    """RCN-5 to RCN-7, T1.9: the constraints are dropped, the query needs none of them."""
    organisation = await world.organisation()
    await world.coordinator(organisation)
    await world.mentor(organisation, days=-1)
    await world.mentor(organisation, days=20)
    await world.remind(organisation)
    await world.settle("delivered")
    await world.conn.execute(
        "alter table cert_expiry_reminders drop constraint cert_expiry_reminders_once_per_period;"
        "alter table cert_notification_log"
        " drop constraint cert_notification_log_once_per_recipient;"
        "drop index cert_notification_log_mentor_push_once_per_period;"
        "drop index mentor_status_history_one_automatic_pause_per_period"
    )
    for table in ("cert_expiry_reminders", "cert_notification_log"):
        await world.conn.execute(
            f"create temporary table twin as select * from {table}"
            " where audience = 'coordinator' and threshold_tier = '30';"
            "update twin set id = gen_random_uuid();"
            f"insert into {table} select * from twin; drop table twin"
        )
    await world.conn.execute(
        "insert into mentor_status_history (mentor_id, organisation_id, from_status, to_status,"
        " source, certification_id, certification_expiry_date, visibility_version, at)"
        " select mentor_id, m.organisation_id, 'active', 'paused', 'certificate_expired', c.id,"
        " c.expiry_date, 1, now() from certifications c"
        " join peer_mentors m on m.id = c.mentor_id, generate_series(1, 2)"
        " where c.expiry_date < %s",
        [world.now.date()],
    )

    report = await compare(world, organisation, Listing(complete=True))

    found = {(each.kind, each.audience, each.tier, each.occurrences) for each in report.duplicates}
    assert found == {
        ("reminder", "coordinator", "30", 2),
        ("push", "coordinator", "30", 2),
        ("pause", "coordinator", "lapsed", 2),
    }
    alerts = await world.rows(
        "select payload ->> 'type' as type from outbox.message where topic = 'alert.open'"
    )
    assert [row["type"] for row in alerts] == ["duplicate_log_entries"] * 3


async def test_a_report_reads_as_json_and_as_csv_and_can_be_cut_down(world: World) -> None:
    """RCN-4: one document, one table, and a coordinator's own mentors only."""
    organisation = await world.organisation()
    of = await drifted(world, organisation)
    report = await compare(world, organisation, listing(of))

    assert ReconciliationReport.model_validate_json(report.model_dump_json()) == report
    header, *lines = csv.reader(csv_rows(report))
    assert header[:3] == ["mentor_id", "verdict", "our_version"]
    assert [line[0] for line in lines] == [str(item.mentor_id) for item in report.items]
    mine = report.only({of["behind"]})
    assert (len(mine.items), mine.totals) == (1, {"behind": 1})
