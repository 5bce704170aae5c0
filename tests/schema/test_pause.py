"""Automatic and manual pause, renewal, and what the public sees meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from tests.schema.conftest import World

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
YESTERDAY, TODAY, NEXT_YEAR = date(2026, 3, 1), date(2026, 3, 2), date(2027, 3, 2)


def lapsed_overnight(world: World) -> UUID:
    """A mentor whose certificate was valid when written and has lapsed since, with no run yet."""
    mentor = world.mentor()
    world.do("select set_config('app.now', '2026-02-01T12:00Z', false)")
    world.certificate(mentor, YESTERDAY)
    world.do("select set_config('app.now', %s, false)", NOON.isoformat())
    return mentor


def history(world: World, mentor: UUID) -> list[tuple[str, str, str]]:
    found = world.rows(
        "select from_status, to_status, source from public.mentor_status_history"
        " where mentor_id = %s order by id",
        mentor,
    )
    return [(row[0], row[1], row[2]) for row in found]


def test_a_lapsed_mentor_is_paused_once(world: World) -> None:
    """T1.8, one after the other: the second call changes and publishes nothing (PAU-3)."""
    mentor, run = lapsed_overnight(world), uuid4()

    first = world.rows("select * from app.pause_lapsed_mentor(%s, %s)", mentor, run)
    second = world.rows("select * from app.pause_lapsed_mentor(%s, %s)", mentor, run)

    assert (first, second) == ([(True, 1)], [(False, 1)])
    assert world.state(mentor) == ("paused", "certificate_expired", "certificate_expired", 1)
    assert history(world, mentor) == [("active", "paused", "certificate_expired")]
    assert world.messages(mentor) == [1]
    assert world.rows(
        "select visibility_reason, visibility_effective_at, paused_at"
        " from public.peer_mentors where id = %s",
        mentor,
    ) == [("certificate_lapsed", datetime(2026, 3, 1, 23, tzinfo=UTC), NOON)]


def test_two_pauses_at_once_are_one_transition(world: World) -> None:
    """T1.8, at the same moment: the second waits for the first and finds nothing left to do."""
    mentor = lapsed_overnight(world)

    def pause(conn: psycopg.Connection) -> tuple[object, ...] | None:
        found = conn.execute(
            "select changed from app.pause_lapsed_mentor(%s, null, %s)", (mentor, NOON)
        )
        return found.fetchone()

    with (
        psycopg.connect(world.dsn) as first,
        psycopg.connect(world.dsn) as second,
        ThreadPoolExecutor(1) as other,
    ):
        assert pause(first) == (True,)
        waiting = other.submit(pause, second)
        until_blocked(world, second)
        first.commit()
        assert waiting.result(timeout=20) == (False,)
        second.commit()

    assert history(world, mentor) == [("active", "paused", "certificate_expired")]
    assert world.messages(mentor) == [1]


def test_a_renewal_under_way_is_seen_by_the_pause_that_waited_for_it(world: World) -> None:
    mentor = lapsed_overnight(world)

    def pause(conn: psycopg.Connection) -> tuple[object, ...] | None:
        found = conn.execute(
            "select changed from app.pause_lapsed_mentor(%s, null, %s)", (mentor, NOON)
        )
        return found.fetchone()

    with (
        psycopg.connect(world.dsn) as renewal,
        psycopg.connect(world.dsn) as sweep,
        ThreadPoolExecutor(1) as other,
    ):
        renewal.execute("select set_config('app.now', %s, true)", (NOON.isoformat(),))
        renewal.execute(
            "update public.certifications set expiry_date = %s where mentor_id = %s",
            (NEXT_YEAR, mentor),
        )
        waiting = other.submit(pause, sweep)
        until_blocked(world, sweep)
        renewal.commit()
        assert waiting.result(timeout=20) == (False,)

    assert world.state(mentor)[:3] == ("active", "none", None)


def test_two_certificates_of_one_mentor_may_be_written_at_once(world: World) -> None:
    """The lock of the trigger goes along with the foreign key's, so neither waits in a circle."""
    mentor = world.mentor()
    insert = (
        "insert into public.certifications (mentor_id, certificate_type, expiry_date)"
        " values (%s, %s, %s)"
    )
    with (
        psycopg.connect(world.dsn) as first,
        psycopg.connect(world.dsn) as second,
        ThreadPoolExecutor(1) as other,
    ):
        first.execute(insert, (mentor, "a", NEXT_YEAR))
        waiting = other.submit(second.execute, insert, (mentor, "b", TODAY))
        until_blocked(world, second)
        first.commit()
        waiting.result(timeout=20)
        second.commit()

    assert world.rows(
        "select certification_expiry_date from public.peer_mentors where id = %s", mentor
    ) == [(TODAY,)]


def test_the_sweep_pauses_whoever_lapsed_and_nobody_else(world: World) -> None:
    lapsed, also_lapsed = sorted((lapsed_overnight(world), lapsed_overnight(world)))
    valid, bare = world.mentor(TODAY), world.mentor()
    by_hand = lapsed_overnight(world)
    world.do("select app.pause_mentor(%s, %s)", by_hand, uuid4())

    sweep = (
        "select mentor_id, certification_expiry_date, version from app.pause_lapsed_mentors(%s, %s)"
    )
    first = world.rows(sweep, world.organisation, uuid4())
    second = world.rows(sweep, world.organisation, uuid4())

    assert first == [(lapsed, YESTERDAY, 1), (also_lapsed, YESTERDAY, 1)]
    assert second == []
    assert world.state(valid) == ("active", "none", None, 0)
    assert world.state(bare) == ("active", "none", None, 0)
    assert world.state(by_hand) == ("paused", "certificate_expired", "manual", 1)


@pytest.mark.parametrize(
    ("zone", "now", "changed"),
    [
        ("Europe/Oslo", "2026-04-01T21:59Z", False),  # 23:59 on the last valid day
        ("Europe/Oslo", "2026-04-01T22:00Z", True),  # midnight in Oslo, still 1 April in UTC
        ("UTC", "2026-04-01T22:00Z", False),
        ("UTC", "2026-04-02T00:00Z", True),
        ("America/New_York", "2026-04-02T03:59Z", False),
    ],
)
def test_the_last_valid_day_ends_at_midnight_of_the_organisation(
    world: World, zone: str, now: str, *, changed: bool
) -> None:
    """TIER-2: day 0 is valid, and the day is the organisation's."""
    world.do("update public.organisations set timezone = %s", zone)
    mentor = world.mentor(date(2026, 4, 1))

    assert world.rows("select app.visible(%s, %s::timestamptz)", mentor, now) == [(not changed,)]
    assert world.rows(
        "select changed from app.pause_lapsed_mentor(%s, null, %s::timestamptz)", mentor, now
    ) == [(changed,)]


def test_only_the_latest_certificate_of_a_type_counts(world: World) -> None:
    """ELG-1: an old lapsed row beside a newer valid one is not a lapse; a revoked one is none."""
    mentor = world.mentor(YESTERDAY)
    newer = world.certificate(mentor, NEXT_YEAR)
    assert world.visible(mentor)

    world.do("update public.certifications set revoked_at = now() where id = %s", newer)

    assert not world.visible(mentor)
    assert world.state(mentor)[:2] == ("active", "certificate_expired")


def test_a_certificate_that_is_not_required_pauses_nobody(world: World) -> None:
    mentor = world.mentor()
    world.do(
        "insert into public.certifications (mentor_id, certificate_type, expiry_date, required)"
        " values (%s, 'extra', %s, false)",
        mentor,
        YESTERDAY,
    )

    assert world.rows("select changed from app.pause_lapsed_mentor(%s)", mentor) == [(False,)]
    assert world.visible(mentor)


def test_an_expired_mentor_is_hidden_although_no_run_has_come(world: World) -> None:
    """T2.13: the flag is stale, the date decides."""
    mentor = lapsed_overnight(world)

    assert world.state(mentor) == ("active", "none", None, 0)
    assert not world.visible(mentor)


def test_a_changed_date_hides_and_shows_at_once(world: World) -> None:
    """T2.13, PAU-8: the trigger does not wait for a run either, and tells the portal each time."""
    mentor = world.mentor(NEXT_YEAR)
    change = "update public.certifications set expiry_date = %s where mentor_id = %s"

    world.do(change, YESTERDAY, mentor)
    assert not world.visible(mentor)
    assert world.state(mentor) == ("active", "certificate_expired", None, 1)

    world.do(change, NEXT_YEAR, mentor)
    assert world.visible(mentor)
    assert world.state(mentor) == ("active", "none", None, 2)
    assert world.messages(mentor) == [1, 2]


def test_a_certificate_that_lapses_by_a_change_asks_for_the_sweep(world: World) -> None:
    """PAU-7: once per organisation and statement; a renewal or a pause asks nobody."""
    mentors = [world.mentor(NEXT_YEAR) for _ in range(3)]
    asked = "select key from outbox.message where topic = 'sweep.requested'"
    change = "update public.certifications set expiry_date = %s"
    world.do(change, TODAY)
    assert world.rows(asked) == []

    world.do(change, YESTERDAY)
    ((key,),) = world.rows(asked)
    assert key == "organisation:" + str(
        world.rows("select organisation_id from public.peer_mentors")[0][0]
    )

    for mentor in mentors:
        world.do("select app.pause_lapsed_mentor(%s)", mentor)
    world.do(change, date(2026, 2, 28))
    world.do(change, NEXT_YEAR)
    assert len(world.rows(asked)) == 1


def test_each_change_says_why(world: World) -> None:
    """PAU-10: version 2 of the message; what the person wrote is not in it."""
    mentor, actor = world.mentor(NEXT_YEAR), uuid4()
    for act in (
        "select app.pause_mentor(%s, %s, 'Kari is ill')",
        "select app.reactivate_mentor(%s, %s)",
    ):
        world.do(act, mentor, actor)
    change = "update public.certifications set expiry_date = %s where mentor_id = %s"
    world.do(change, YESTERDAY, mentor)
    world.do("select app.pause_lapsed_mentor(%s)", mentor)
    world.do(change, NEXT_YEAR, mentor)
    world.do("select app.bump_visibility(%s)", mentor)
    world.do("update public.peer_mentors set status = 'paused' where id = %s", mentor)

    assert world.reasons(mentor) == [
        "paused_manual", "reactivated", "certificate_lapsed", "certificate_lapsed",
        "certificate_renewed", "force_sync", "paused_manual",
    ]  # fmt: skip
    versions = world.rows("select distinct version from outbox.message where topic like 'vis%%'")
    assert versions == [(2,)]


def test_a_change_that_moves_no_date_is_not_announced(world: World) -> None:
    mentor = world.mentor(NEXT_YEAR)

    world.do("update public.certifications set certificate_type = certificate_type")
    world.certificate(mentor, date(2026, 1, 1))

    assert world.messages(mentor) == []


RENEWALS: dict[str, Callable[[World, UUID], object]] = {
    "in place": lambda world, mentor: world.do(
        "update public.certifications set expiry_date = %s where mentor_id = %s", NEXT_YEAR, mentor
    ),
    "with a new certificate": lambda world, mentor: world.certificate(mentor, NEXT_YEAR),
}


@pytest.mark.parametrize("renewal", RENEWALS)
def test_a_renewal_lets_the_mentor_return(world: World, renewal: str) -> None:
    """PAU-9, whichever way the new date comes."""
    mentor = lapsed_overnight(world)
    world.do("select app.pause_lapsed_mentor(%s)", mentor)

    RENEWALS[renewal](world, mentor)

    assert world.state(mentor) == ("active", "none", None, 2)
    assert world.visible(mentor)
    assert world.messages(mentor) == [1, 2]
    assert history(world, mentor)[-1] == ("paused", "active", "certificate_renewed")


def test_a_renewal_leaves_a_pause_by_hand(world: World) -> None:
    mentor = lapsed_overnight(world)
    world.do("select app.pause_mentor(%s, %s, 'leave')", mentor, uuid4())
    world.do("select app.pause_lapsed_mentors(%s)", world.organisation)

    RENEWALS["in place"](world, mentor)

    assert world.state(mentor) == ("paused", "none", "manual", 1)


def test_an_organisation_may_keep_the_renewed_paused(world: World) -> None:
    world.do("update public.organisations set auto_reactivate_on_renewal = false")
    mentor = lapsed_overnight(world)
    world.do("select app.pause_lapsed_mentor(%s)", mentor)

    RENEWALS["in place"](world, mentor)

    assert world.state(mentor)[:3] == ("paused", "none", "certificate_expired")
    assert not world.visible(mentor)


def test_losing_the_last_certificate_does_not_bring_a_mentor_back(world: World) -> None:
    mentor = lapsed_overnight(world)
    world.do("select app.pause_lapsed_mentor(%s)", mentor)

    world.do("delete from public.certifications where mentor_id = %s", mentor)

    assert world.state(mentor)[:2] == ("paused", "certificate_expired")


def test_a_period_that_lapses_again_is_a_correction(world: World) -> None:
    """The history has one automatic pause per period; a date put right and back is told apart."""
    mentor = lapsed_overnight(world)
    change = "update public.certifications set expiry_date = %s where mentor_id = %s"
    world.do("select app.pause_lapsed_mentor(%s)", mentor)
    world.do(change, NEXT_YEAR, mentor)
    world.do(change, YESTERDAY, mentor)

    assert world.rows("select changed from app.pause_lapsed_mentor(%s)", mentor) == [(True,)]
    assert [source for _, _, source in history(world, mentor)] == [
        "certificate_expired",
        "certificate_renewed",
        "correction",
    ]


def test_pause_and_return_by_hand(world: World) -> None:
    """PAU-10: the same family, the same message, and again nothing when repeated."""
    mentor, actor = world.mentor(NEXT_YEAR), uuid4()
    pause = "select * from app.pause_mentor(%s, %s, 'leave')"
    back = "select * from app.reactivate_mentor(%s, %s)"

    assert world.rows(pause, mentor, actor) == [(True, 1)]
    assert world.rows(pause, mentor, actor) == [(False, 1)]
    assert world.rows(back, mentor, actor) == [(True, 2, None)]
    assert world.rows(back, mentor, actor) == [(False, 2, "not_paused")]
    assert world.rows(back, uuid4(), actor) == [(False, None, "unknown_mentor")]
    assert world.messages(mentor) == [1, 2]


def test_a_lapsed_mentor_returns_only_by_renewal(world: World) -> None:
    mentor = lapsed_overnight(world)
    world.do("select app.pause_lapsed_mentor(%s)", mentor)

    assert world.rows("select refused from app.reactivate_mentor(%s, %s)", mentor, uuid4()) == [
        ("certificate_lapsed",)
    ]


def test_a_mentor_who_leaves_is_hidden(world: World) -> None:
    mentor = world.mentor(NEXT_YEAR)

    assert world.rows("select * from app.offboard_mentor(%s, %s)", mentor, uuid4()) == [(True, 1)]
    assert world.state(mentor)[0] == "inactive"
    assert not world.visible(mentor)
    assert history(world, mentor) == [("active", "inactive", "offboarded")]


def test_without_a_channel_the_pause_is_ours_alone(world: World) -> None:
    """PAU-11: the same pause, no message."""
    world.do("update public.organisations set visibility_channel = 'none'")
    mentor = lapsed_overnight(world)

    assert world.rows("select * from app.pause_lapsed_mentor(%s)", mentor) == [(True, 1)]
    assert world.messages(mentor) == []
    assert world.rows("select app.bump_visibility(%s)", mentor) == [(None,)]


def test_a_bump_goes_above_what_the_portal_holds(world: World) -> None:
    mentor = world.mentor(NEXT_YEAR)

    assert world.rows("select app.bump_visibility(%s)", mentor) == [(1,)]
    assert world.rows("select app.bump_visibility(%s, 41, 'reconcile')", mentor) == [(42,)]
    assert world.rows("select app.bump_visibility(%s, 7)", mentor) == [(43,)]
    assert world.messages(mentor) == [1, 42, 43]
    assert world.rows("select app.bump_visibility(%s)", uuid4()) == [(None,)]


def test_a_status_written_in_place_is_announced_too(world: World) -> None:
    """Whoever edits the column, the portal and the history hear of it."""
    mentor = world.mentor(NEXT_YEAR)

    world.do("update public.peer_mentors set status = 'paused' where id = %s", mentor)
    assert world.state(mentor) == ("paused", "none", "manual", 1)
    world.do("update public.peer_mentors set status = 'active' where id = %s", mentor)

    assert world.state(mentor) == ("active", "none", None, 2)
    assert world.messages(mentor) == [1, 2]
    assert history(world, mentor) == [
        ("active", "paused", "manual"),
        ("paused", "active", "manual"),
    ]


def test_an_unknown_zone_is_refused(world: World) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        world.do("update public.organisations set timezone = 'Europe/Atlantis'")


def until_blocked(world: World, conn: psycopg.Connection) -> None:
    """Return once the backend of `conn` waits for a lock."""
    while not world.rows(
        "select from pg_stat_activity where pid = %s and wait_event_type = 'Lock'",
        conn.info.backend_pid,
    ):
        pass
