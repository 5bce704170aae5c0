"""Reports over HTTP: an administrator reads all, a coordinator of own mentors (RCN-4)."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest_asyncio

from handlers.texts import key_of, say

if TYPE_CHECKING:
    from sagas.run import Organisation
    from tests.http.front import Front


class People:
    """Two chapters of one organisation, each with a mentor the portal never heard of."""

    organisation: Organisation
    ours: UUID
    theirs: UUID
    coordinator: UUID
    admin: UUID
    foreign: UUID


@pytest_asyncio.fixture
async def people(front: Front) -> People:
    """Everybody, a reconciliation report, a duplicate and a finding about each mentor."""
    world, found = front.scene.world, People()
    found.organisation = await world.organisation()
    found.ours, found.coordinator = await front.scene.followed_mentor(found.organisation, days=30)
    elsewhere = await world.chapter(found.organisation, "Bergen")
    found.theirs = await world.mentor(found.organisation, elsewhere, days=30)
    found.admin = await world.coordinator(found.organisation, role="org_admin")
    found.foreign = await world.coordinator(await world.organisation("NHF"), role="org_admin")
    await front.scene.night()
    await world.conn.execute(
        "alter table cert_expiry_reminders drop constraint cert_expiry_reminders_once_per_period"
    )
    await world.conn.execute(
        "insert into cert_expiry_reminders (organisation_id, audience, mentor_id, certification_id,"
        " certificate_type, threshold_day, threshold_tier, certification_expiry_date,"
        " notification_window_start, notification_window_date) select organisation_id, audience,"
        " mentor_id, certification_id, certificate_type, threshold_day, threshold_tier,"
        " certification_expiry_date, notification_window_start, notification_window_date"
        " from cert_expiry_reminders where audience = 'mentor'"
    )
    await world.conn.execute(
        "insert into data_quality_findings (kind, organisation_id, mentor_id, subject)"
        " select 'test', organisation_id, id, id::text from peer_mentors"
    )
    await front.scene.stage.reconcile()
    return found


async def get(front: Front, user: UUID, path: str) -> Any:
    answer = await front.ask("GET", path, user)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_report_is_cut_down_to_whom_one_answers_for(front: Front, people: People) -> None:
    """RCN-4: items, totals and duplicates alike."""
    (header,) = (await get(front, people.admin, "/reports/reconciliation"))["items"]
    path = f"/reports/reconciliation/{header['report_id']}"

    whole, cut = await get(front, people.admin, path), await get(front, people.coordinator, path)

    assert {item["mentor_id"] for item in whole["items"]} == {str(people.ours), str(people.theirs)}
    assert [item["mentor_id"] for item in cut["items"]] == [str(people.ours)]
    assert {each["mentor_id"] for each in whole["duplicates"]} == {
        str(people.ours),
        str(people.theirs),
    }
    assert {each["mentor_id"] for each in cut["duplicates"]} == {str(people.ours)}
    assert (sum(whole["totals"].values()), sum(cut["totals"].values())) == (2, 1)
    assert whole["organisation"] == cut["organisation"] == "HLF"


async def test_a_report_is_read_as_csv(front: Front, people: People) -> None:
    (header,) = (await get(front, people.coordinator, "/reports/reconciliation"))["items"]

    answer = await front.ask(
        "GET", f"/reports/reconciliation/{header['report_id']}.csv", people.coordinator
    )

    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["mentor_id"] for row in rows] == [str(people.ours)]


async def test_a_report_is_read_as_a_page(front: Front, people: People) -> None:
    """RCN-4: cut down like the others; how it went before is told of all, so to administrators."""
    await front.scene.stage.reconcile()
    (header, *_) = (await get(front, people.admin, "/reports/reconciliation"))["items"]
    path = f"/reports/reconciliation/{header['report_id']}.html"
    english = {"Accept-Language": "en"}

    whole = await front.ask("GET", path, people.admin)
    cut = await front.ask("GET", path, people.coordinator, headers=english)

    assert whole.headers["content-type"].startswith("text/html")
    assert whole.headers["content-security-policy"].startswith("default-src 'none'")
    assert str(people.theirs) in whole.text
    assert str(people.ours) in cut.text
    assert str(people.theirs) not in cut.text
    assert "Avvik over tid" in whole.text
    assert "Differences over time" not in cut.text
    assert "(Europe/Oslo)" in cut.text


async def test_a_report_of_another_organisation_is_not_there(front: Front, people: People) -> None:
    (header,) = (await get(front, people.admin, "/reports/reconciliation"))["items"]
    for user in (people.foreign, people.ours, uuid4()):
        for form in ("", ".csv", ".html"):
            answer = await front.ask(
                "GET", f"/reports/reconciliation/{header['report_id']}{form}", user
            )
            assert answer.status_code == 404
        for path in ("/reports/reconciliation", "/reports/duplicates", "/reports/data-quality"):
            assert (await get(front, user, path))["items"] == []


async def test_duplicates_are_looked_for_and_say_when_their_review_is_due(
    front: Front, people: People
) -> None:
    """RCN-5, RCN-7, T1.9: found by natural key, the constraint gone."""
    whole = (await get(front, people.admin, "/reports/duplicates"))["items"]
    cut = (await get(front, people.coordinator, "/reports/duplicates"))["items"]

    assert {each["mentor_id"] for each in whole} == {str(people.ours), str(people.theirs)}
    assert {each["mentor_id"] for each in cut} == {str(people.ours)}
    assert {each["occurrences"] for each in whole} == {2}
    assert all(each["review"]["due_at"] for each in whole)


async def test_duplicates_that_the_switch_shows_are_on_record(front: Front, people: People) -> None:
    """VIS-7: they are looked for under the service's role, which no policy binds."""
    world = front.scene.world
    await world.conn.execute("delete from dashboard_alerts")
    await world.conn.execute(
        "insert into feature_flags (organisation_id, flag, enabled, expires_at, reason)"
        " values (%s, 'widen_coordinator_scope', true, now() + interval '1 hour', 'flood')",
        [people.organisation.id],
    )

    widened = (await get(front, people.coordinator, "/reports/duplicates"))["items"]
    await get(front, people.admin, "/reports/duplicates")

    assert {each["mentor_id"] for each in widened} == {str(people.ours), str(people.theirs)}
    rows = await world.rows("select mentor_id, actor_id from widened_reads")
    assert rows == [{"mentor_id": people.theirs, "actor_id": people.coordinator}]


async def test_findings_are_shown_to_whom_they_concern(front: Front, people: People) -> None:
    """REC-8."""
    whole = (await get(front, people.admin, "/reports/data-quality"))["items"]
    cut = (await get(front, people.coordinator, "/reports/data-quality"))["items"]

    assert {str(people.ours), str(people.theirs)} <= {each["mentor_id"] for each in whole}
    assert {each["mentor_id"] for each in cut} == {str(people.ours)}
    for each in whole:
        kind = each["kind"].replace("test", "other")  # planted under a kind nobody knows
        assert each["title"] == say(key_of("finding", kind), "nb")
        assert each["meaning"].endswith(".")
        assert (each["told_instead"] is None) == (each["step"] is None)


async def test_reports_are_read_in_pages(front: Front, people: People) -> None:
    for _ in range(3):
        await front.scene.stage.reconcile()
    seen, query = [], "?limit=3"
    while query:
        page = await get(front, people.admin, f"/reports/reconciliation{query}")
        seen += [each["report_id"] for each in page["items"]]
        query = f"?limit=3&before={page['next']}" if page["next"] else ""

    assert len(seen) == len(set(seen)) == 4
