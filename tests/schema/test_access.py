"""Row-level security and grants, tried as the roles themselves."""

from __future__ import annotations

import contextlib
from datetime import date
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

if TYPE_CHECKING:
    from uuid import UUID

    from tests.schema.conftest import World

LONG_AGO, FAR_OFF = date(2020, 1, 1), date(2099, 1, 1)  # policies ask the real clock

PAUSE = "update public.peer_mentors set status = 'paused', pause_reason = 'leave' where id = %s"
RESUME = "update public.peer_mentors set status = 'active' where id = %s"
READ = "select id from public.peer_mentors where id = %s"


def inbox_row(world: World, recipient: UUID) -> UUID:
    (row,) = world.rows(
        "insert into public.notifications"
        " (organisation_id, recipient_id, kind, title, body, idempotency_key)"
        " values (%s, %s, 'cert_lapsed', 't', 'b', %s) returning id",
        world.organisation,
        recipient,
        str(uuid4()),
    )
    found: UUID = row[0]
    return found


def test_every_table_has_forced_row_security(world: World) -> None:
    """A table added without it fails here, not in production."""
    open_tables = world.rows(
        "select c.oid::regclass::text from pg_class as c"
        " join pg_namespace as n on n.oid = c.relnamespace"
        " where n.nspname in ('public', 'private', 'app') and c.relkind in ('r', 'p')"
        " and not (c.relrowsecurity and c.relforcerowsecurity)"
        " and c.relname <> 'outbox_application_version'"
    )
    assert open_tables == []


def test_clients_hold_no_more_than_was_meant(world: World) -> None:
    """Grants are listed here, so that widening one is a decision and shows in a diff."""
    held = world.rows(
        "select a.grantee::regrole::text, c.relname, a.privilege_type from pg_class as c"
        " cross join lateral aclexplode(c.relacl) as a"
        " join pg_namespace as n on n.oid = c.relnamespace"
        " where n.nspname in ('public', 'app', 'private') and (a.grantee = 0"
        " or a.grantee in ('anon'::regrole, 'authenticated'::regrole)) order by 1, 2, 3"
    )
    readable = [
        "activities",
        "assignments",
        "certifications",
        "chapter_memberships",
        "chapters",
        "dashboard_alerts",
        "data_quality_findings",
        "device_tokens",
        "followup_scenarios",
        "mentor_listing",
        "notification_policies",
        "notifications",
        "organisations",
        "peer_mentors",
        "reconciliation_items",
        "scenario_settings",
        "user_roles",
    ]
    assert held == [
        ("anon", "mentor_listing", "SELECT"),
        *(("authenticated", name, "SELECT") for name in readable),
    ]
    columns = world.rows(
        "select distinct a.grantee::regrole::text, c.relname, a.privilege_type,"
        " count(*) over (partition by a.grantee, c.oid, a.privilege_type)"
        " from pg_attribute as t join pg_class as c on c.oid = t.attrelid"
        " cross join lateral aclexplode(t.attacl) as a"
        " where c.relnamespace = 'public'::regnamespace order by 1, 2, 3"
    )
    assert columns == [
        ("anon", "peer_mentors", "SELECT", 2),
        ("authenticated", "peer_mentors", "UPDATE", 2),
        ("authenticated", "reconciliation_reports", "SELECT", 13),  # all but duplicates
    ]


def test_clients_may_call_two_functions(world: World) -> None:
    callable_ones = world.rows(
        "select p.oid::regprocedure::text from pg_proc as p"
        " join pg_namespace as n on n.oid = p.pronamespace"
        " where n.nspname in ('public', 'app') and p.prorettype <> 'trigger'::regtype"
        " and (has_function_privilege('anon', p.oid, 'execute')"
        " or has_function_privilege('authenticated', p.oid, 'execute'))"
    )
    assert sorted(callable_ones) == [
        ("mark_notification_read(uuid)",),
        ("register_device(text,text,text)",),
    ]


def test_the_public_sees_who_is_listed(world: World) -> None:
    """VIS-1, T2.13: the flag of the lapsed one is stale; the policy's date hides it."""
    listed, lapsed, paused = world.mentor(FAR_OFF), world.mentor(), world.mentor(FAR_OFF)
    world.do("select set_config('app.now', '2019-12-01T12:00Z', false)")
    world.certificate(lapsed, LONG_AGO)
    world.do(PAUSE, paused)
    assert world.state(lapsed)[:2] == ("active", "none")

    with world.acting_as(None, "anon") as public:
        assert public.rows("select id from public.peer_mentors") == [(listed,)]
        assert public.rows("select id from public.mentor_listing") == [(listed,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            public.rows("select status from public.peer_mentors")


def test_signed_in_people_see_the_listing_too(world: World) -> None:
    listed, mentor = world.mentor(FAR_OFF), world.mentor(LONG_AGO)

    with world.acting_as(mentor) as client:
        assert client.rows("select id from public.mentor_listing") == [(listed,)]
        assert client.rows(READ, mentor) == [(mentor,)]


def test_a_mentor_reads_and_edits_the_own_row_only(world: World) -> None:
    """T4.7, self: a denial is no row, not an error."""
    mentor, other = world.mentor(FAR_OFF), world.mentor(FAR_OFF)

    with world.acting_as(mentor) as client:
        assert client.rows("select id from public.peer_mentors") == [(mentor,)]
        assert client.do(PAUSE, mentor) == 1
        assert client.do(PAUSE, other) == 0
        assert client.do(RESUME, mentor) == 1


def test_a_coordinator_reaches_the_mentors_of_the_own_chapter(world: World) -> None:
    """T4.7: same chapter allowed, another chapter denied, reading and writing."""
    ours, theirs = world.mentor(FAR_OFF), world.mentor(FAR_OFF)
    coordinator = world.person("coordinator", world.chapter(ours))
    world.chapter(theirs)

    with world.acting_as(coordinator) as client:
        assert client.rows("select id from public.peer_mentors") == [(ours,)]
        assert (client.do(PAUSE, ours), client.do(PAUSE, theirs)) == (1, 0)


def test_a_right_withdrawn_is_gone_at_once(world: World) -> None:
    """VIS-4: rights come from tables; nothing in the token keeps them."""
    mentor = world.mentor(FAR_OFF)
    coordinator = world.person("coordinator", world.chapter(mentor))
    world.do("update public.user_roles set active = false where user_id = %s", coordinator)

    with world.acting_as(coordinator) as client:
        assert client.rows(READ, mentor) == []


def test_nobody_signed_in_is_nobody(world: World) -> None:
    mentor = world.mentor(FAR_OFF)
    inbox_row(world, mentor)

    with world.acting_as(None) as client:
        assert client.rows("select id from public.peer_mentors") == []
        assert client.rows("select id from public.notifications") == []
        assert client.do(PAUSE, mentor) == 0


@pytest.mark.parametrize("expires", ["1 hour", "-1 hour"])
def test_the_emergency_switch_widens_until_it_expires(world: World, expires: str) -> None:
    """VIS-7, both positions; what was done with it is on record."""
    mentor = world.mentor(FAR_OFF)
    coordinator = world.person("coordinator", world.chapter())
    world.do(
        "insert into public.feature_flags (organisation_id, flag, enabled, expires_at, reason)"
        " values (%s, 'widen_coordinator_scope', true, now() + %s::interval, 'flood')",
        world.organisation,
        expires,
    )
    open_now = expires == "1 hour"

    with world.acting_as(coordinator) as client:
        assert client.rows(READ, mentor) == ([(mentor,)] if open_now else [])
        assert client.do(PAUSE, mentor) == int(open_now)
        client.do("reset role")
        assert client.rows(
            "select actor_id, subject ->> 'scope' from public.audit_log"
            " where action = 'mentor.status_edited'"
        ) == ([(coordinator, "widened")] if open_now else [])
    assert world.rows("select app.may_follow_up(%s, %s)", coordinator, mentor) == [(open_now,)]


def test_the_emergency_switch_needs_an_end_and_a_reason(world: World) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        world.do(
            "insert into public.feature_flags (organisation_id, flag, enabled)"
            " values (%s, 'widen_coordinator_scope', true)",
            world.organisation,
        )


def test_an_edit_by_a_client_has_all_its_consequences(world: World) -> None:
    """PAU-10: version, message, history and audit come with it; the client sees none of them."""
    mentor = world.mentor(FAR_OFF)
    with world.acting_as(mentor) as client:
        client.do(PAUSE, mentor)
        client.do("reset role")
        assert client.state(mentor) == ("paused", "none", "manual", 1)
        assert client.messages(mentor) == [1]
        assert client.rows("select actor_id, reason from public.mentor_status_history") == [
            (mentor, "leave")
        ]
        assert client.rows("select actor_id, actor_role, mentor_id from public.audit_log") == [
            (mentor, "authenticated", mentor)
        ]


@pytest.mark.parametrize(
    "change",
    [
        "status = 'inactive'",
        "suppression_status = 'manual'",
        "visibility_version = 9",
        "visible_until = null",
        "organisation_id = organisation_id",
    ],
)
def test_the_rest_of_the_status_row_is_not_a_clients(world: World, change: str) -> None:
    mentor = world.mentor(FAR_OFF)
    with world.acting_as(mentor) as client, pytest.raises(psycopg.errors.InsufficientPrivilege):
        client.do(f"update public.peer_mentors set {change} where id = %s", mentor)


def test_the_guard_holds_where_the_platform_granted_everything(world: World) -> None:
    """The platform grants clients whole tables by default; the trigger does not rely on grants."""
    mentor = world.mentor(LONG_AGO)
    world.do("grant all on public.peer_mentors to authenticated")
    for change in ("suppression_status = 'none'", "visible_until = null", "id = gen_random_uuid()"):
        with world.acting_as(mentor) as client, pytest.raises(psycopg.errors.InsufficientPrivilege):
            client.do(f"update public.peer_mentors set {change} where id = %s", mentor)


def test_a_mentor_does_not_lift_the_pause_of_a_lapse(world: World) -> None:
    """VIS-6: not while lapsed, and not when the organisation keeps the renewed paused either."""
    world.do("update public.organisations set auto_reactivate_on_renewal = false")
    mentor = world.mentor(LONG_AGO)
    coordinator = world.person("coordinator", world.chapter(mentor))
    world.do("select app.pause_lapsed_mentor(%s)", mentor)
    for person in (mentor, coordinator):
        with world.acting_as(person) as client, pytest.raises(psycopg.errors.InsufficientPrivilege):
            client.do(RESUME, mentor)

    world.do("update public.certifications set expiry_date = %s", FAR_OFF)

    with world.acting_as(mentor) as client, pytest.raises(psycopg.errors.InsufficientPrivilege):
        client.do(RESUME, mentor)
    assert world.rows("select refused from app.reactivate_mentor(%s, %s)", mentor, mentor) == [
        ("own_certificate_pause",)
    ]
    with world.acting_as(coordinator) as client:
        assert client.do(RESUME, mentor) == 1


def test_the_inbox_is_read_by_its_owner_and_written_by_nobody(world: World) -> None:
    """T2.10, NTF-3, VIS-5."""
    owner, other = uuid4(), uuid4()
    mine, theirs = inbox_row(world, owner), inbox_row(world, other)

    with world.acting_as(owner) as client:
        assert client.rows("select id from public.notifications") == [(mine,)]
        assert client.rows("select public.mark_notification_read(%s)", mine) == [(True,)]
        assert client.rows("select public.mark_notification_read(%s)", theirs) == [(False,)]
    for statement in (
        """
        insert into public.notifications
            (organisation_id, recipient_id, kind, title, body, idempotency_key)
        select id, gen_random_uuid(), 'cert_lapsed', 't', 'b', 'k' from public.organisations
        """,
        "update public.notifications set title = 'x'",
        "delete from public.notifications",
    ):
        with world.acting_as(owner) as client, pytest.raises(psycopg.errors.InsufficientPrivilege):
            client.do(statement)


CLOSED = (
    "notification_groups",
    "cert_notification_log",
    "reminder_dispatch_log",
    "fcm_push_queue",
    "visibility_sync_events",
    "portal_sync_state",
    "audit_log",
    "feature_flags",
)


@pytest.mark.parametrize("relation", [*(f"public.{name}" for name in CLOSED), "outbox.message"])
@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_the_machinery_is_closed_to_clients(world: World, role: str, relation: str) -> None:
    with (
        world.acting_as(uuid4(), role) as client,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        client.rows(f"select * from {relation}")


def test_the_worker_works_in_the_name_of_service_role_alone(world: World) -> None:
    """VIS-8: the login has no rights of its own; the role it takes on passes row-level security."""
    mentor = world.mentor(LONG_AGO)
    with psycopg.connect(world.dsn) as conn:
        conn.execute("set session authorization peermentor_worker")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), conn.transaction():
            conn.execute("select from public.peer_mentors")
        conn.execute("set local role service_role")
        assert conn.execute("select count(*) from public.peer_mentors").fetchone() == (1,)
        paused = conn.execute("select changed from app.pause_lapsed_mentor(%s)", (mentor,))
        assert paused.fetchone() == (True,)
        topics = conn.execute("select topic from outbox.message order by topic").fetchall()
        assert topics == [("sweep.requested",), ("visibility.changed",), ("visibility.changed",)]


def test_what_was_audited_stays(world: World) -> None:
    """Append-only, to the owner of the database too."""
    world.do("insert into public.audit_log (actor_role, action) values ('service_role', 'x')")
    for statement in (
        "update public.audit_log set action = 'y'",
        "delete from public.audit_log",
        "truncate public.audit_log",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            world.do(statement)


@pytest.mark.parametrize(
    ("role", "in_chapter", "allowed"),
    [
        ("coordinator", True, True),
        ("coordinator", False, False),
        ("chapter_admin", True, True),
        ("chapter_admin", False, False),
        ("org_admin", False, True),
        ("hlf_admin", False, True),
        ("peer_mentor", True, False),
    ],
)
def test_who_may_act_for_a_mentor(
    world: World, role: str, *, in_chapter: bool, allowed: bool
) -> None:
    """SYN-8: a coordinator of the mentor, or an administrator above."""
    mentor = world.mentor(FAR_OFF)
    chapter = world.chapter(*[mentor] if in_chapter else [])
    person = world.person(role, None if role.endswith(("org_admin", "hlf_admin")) else chapter)

    assert world.rows("select app.may_follow_up(%s, %s)", person, mentor) == [(allowed,)]
    assert world.rows("select app.may_follow_up(%s, %s)", mentor, mentor) == [(True,)]


def test_an_assigned_coordinator_may_act(world: World) -> None:
    mentor, coordinator = world.mentor(FAR_OFF), uuid4()
    world.do(
        "insert into public.assignments (mentor_id, coordinator_id) values (%s, %s)",
        mentor,
        coordinator,
    )
    assert world.rows("select app.may_follow_up(%s, %s)", coordinator, mentor) == [(True,)]


@pytest.mark.parametrize(
    ("thresholds", "fine"),
    [
        ([60, 30, 7], True),
        ([1], True),
        ([365, 1], True),
        ([], False),
        ([30, 30], False),
        ([7, 30], False),
        ([366], False),
        ([7, 0], False),
        ([30, None, 7], False),
        ([9, 8, 7, 6, 5, 4, 3, 2, 1], False),
    ],
)
def test_thresholds_descend(world: World, thresholds: list[int | None], *, fine: bool) -> None:
    """CFG-5: an invalid policy is refused on write."""
    refused = contextlib.nullcontext() if fine else pytest.raises(psycopg.errors.CheckViolation)
    with refused:
        world.do(
            "insert into public.notification_policies (organisation_id, audience, thresholds)"
            " values (%s, 'mentor', %s::int[])",
            world.organisation,
            thresholds,
        )
