"""Who may do what to each table, tried as the roles themselves (T4.7, T2.10, T2.13).

One mentor, and everybody who stands to him in some way, tries every command on his row of every
table. What is not allowed is a refusal or no row, never a changed one. A table that is added fails
here until somebody has written down who may read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.schema.test_access import FAR_OFF

if TYPE_CHECKING:
    from tests.schema.conftest import World

SELF: Final = "self"
COORDINATOR: Final = "coordinator"
ASSIGNED: Final = "assigned"
CHAPTER_ADMIN: Final = "chapter_admin"
ORG_ADMIN: Final = "org_admin"
ELSEWHERE: Final = "other chapter"
FOREIGN: Final = "other organisation"
SIGNED_OUT: Final = "nobody signed in"
PUBLIC: Final = "anonymous"

NOBODY: Final[frozenset[str]] = frozenset()
FOLLOWS: Final = frozenset({SELF, COORDINATOR})
ANSWERS: Final = frozenset({COORDINATOR, ASSIGNED, CHAPTER_ADMIN, ORG_ADMIN})
STAFF: Final = ANSWERS | {ELSEWHERE}
MEMBERS: Final = STAFF | {SELF}
EVERYBODY: Final = MEMBERS | {FOREIGN, SIGNED_OUT, PUBLIC}

READERS: Final[dict[str, frozenset[str]]] = {
    "activities": FOLLOWS,
    "assignments": frozenset({SELF, ASSIGNED}),
    "audit_log": NOBODY,
    "cert_expiry_reminders": NOBODY,
    "cert_notification_log": NOBODY,
    "certifications": FOLLOWS,
    "chapter_memberships": FOLLOWS,
    "chapters": MEMBERS,
    "credential_checks": NOBODY,
    "dashboard_alerts": ANSWERS,
    "data_quality_findings": ANSWERS,
    "device_tokens": frozenset({SELF}),
    "feature_flags": NOBODY,
    "followup_scenarios": STAFF | {FOREIGN},
    "job_locks": NOBODY,
    "job_requests": NOBODY,
    "job_runs": NOBODY,
    "mentor_status_history": NOBODY,
    "notification_groups": NOBODY,
    "notification_items": NOBODY,
    "notification_policies": STAFF,
    "notifications": frozenset({SELF}),
    "organisations": MEMBERS,
    "peer_mentors": FOLLOWS | {PUBLIC},
    "portal_sync_state": NOBODY,
    "prompt_history": NOBODY,
    "reconciliation_items": ANSWERS,
    "reconciliation_reports": STAFF,
    "scenario_settings": STAFF,
    "user_roles": frozenset({COORDINATOR}),
    "widened_reads": NOBODY,
}
"""Who reads the mentor's row; of `user_roles` it is his coordinator's own."""

WRITERS: Final[dict[tuple[str, str], frozenset[str]]] = {("peer_mentors", "update"): FOLLOWS}
"""Who else writes, beside the service role: VIS-2 alone."""

KEPT: Final = frozenset(
    {
        ("audit_log", "update"),
        ("audit_log", "delete"),
        ("mentor_status_history", "update"),
        ("mentor_status_history", "delete"),
        ("widened_reads", "update"),
        ("widened_reads", "delete"),
    }
)
"""What the service role may not do either: append-only (AUD-1)."""

SEED: Final[dict[str, str]] = {
    "activities": "(mentor_id, kind, occurred_at) values (%(mentor)s, 'first_contact', now())",
    "assignments": "(mentor_id, coordinator_id) values (%(mentor)s, %(assigned)s)",
    "audit_log": "(actor_role, action, mentor_id) values ('x', 'x', %(mentor)s)",
    "cert_expiry_reminders": "(id, organisation_id, audience, mentor_id, certification_id,"
    " certificate_type, threshold_day, threshold_tier, certification_expiry_date,"
    " notification_window_start, notification_window_date) values (%(id)s, %(organisation)s,"
    " 'mentor', %(mentor)s, %(id)s, 'c', 30, '30', now(), now(), now())",
    "cert_notification_log": "(organisation_id, reminder_id, audience, recipient_id, mentor_id,"
    " cert_id, certificate_type, threshold_days, threshold_tier, certification_expiry_date,"
    " notification_window_date) values (%(organisation)s, %(id)s, 'mentor', %(mentor)s, %(mentor)s,"
    " %(id)s, 'c', 30, '30', now(), now())",
    "credential_checks": "(integration, outcome) values ('portal', 'accepted')",
    "dashboard_alerts": "(type, organisation_id, mentor_id, subject, text) values"
    " ('dynamics_sync_pending', %(organisation)s, %(mentor)s, 'x', 'x')",
    "data_quality_findings": "(kind, organisation_id, mentor_id, subject) values"
    " ('missing_coordinator', %(organisation)s, %(mentor)s, 'x')",
    "device_tokens": "(user_id, address) values (%(mentor)s, 'x')",
    "feature_flags": "(organisation_id, flag) values (%(organisation)s, 'per_org_thresholds')",
    "followup_scenarios": "(id, code, name, rule) values (%(id)s, 'x', 'x', '{}')",
    "job_locks": "(job_name, holder, lease_until) values ('x', %(id)s, now())",
    "job_requests": "(job_name, requested_at) values ('sweep', now())",
    "job_runs": "(job_name, organisation_id) values ('x', %(organisation)s)",
    "mentor_status_history": "(mentor_id, organisation_id, from_status, to_status, source,"
    " visibility_version, at) values (%(mentor)s, %(organisation)s, 'active', 'paused', 'manual',"
    " 1, now())",
    "notification_groups": "(id, organisation_id, recipient_id, kind, dedup_key) values"
    " (%(id)s, %(organisation)s, %(mentor)s, 'mentor_paused', 'x')",
    "notification_items": "(group_id, position, mentor_id, kind) values"
    " (%(id)s, 0, %(mentor)s, 'mentor_paused')",
    "notification_policies": "(organisation_id, audience, thresholds) values"
    " (%(organisation)s, 'mentor', '{30}')",
    "notifications": "(organisation_id, recipient_id, kind, title, body, idempotency_key) values"
    " (%(organisation)s, %(mentor)s, 'cert_lapsed', 't', 'b', 'x')",
    "portal_sync_state": "(mentor_id) values (%(mentor)s)",
    "prompt_history": "(organisation_id, user_id, scenario_id, activity_ref, mentor_id, due_on)"
    " values (%(organisation)s, %(mentor)s, %(id)s, 'x', %(mentor)s, now())",
    "reconciliation_reports": "(id, organisation_id) values (%(id)s, %(organisation)s)",
    "reconciliation_items": "(report_id, mentor_id, verdict) values (%(id)s, %(mentor)s, 'behind')",
    "scenario_settings": "(organisation_id, scenario_id) values (%(organisation)s, %(id)s)",
    "widened_reads": "(mentor_id, actor_id, hour, organisation_id, actor_role, reason) values"
    " (%(mentor)s, %(assigned)s, '2026-03-02T11:00Z', %(organisation)s, 'x', 'x')",
}
"""Rows that the people of the scene do not bring along, parents before children."""

ORDER: Final = (
    "cert_expiry_reminders",
    "notification_groups",
    "followup_scenarios",
    "reconciliation_reports",
)

WHERE: Final[dict[str, str]] = {
    "chapters": "id = %(chapter)s",
    "organisations": "id = %(organisation)s",
    "peer_mentors": "id = %(mentor)s",
    "user_roles": "user_id = %(coordinator)s",
    "chapter_memberships": "mentor_id = %(mentor)s",
    "certifications": "mentor_id = %(mentor)s",
}
"""Which row is tried, where there are several; of all other tables there is one."""


@dataclass(frozen=True)
class Scene:
    """The mentor's row of each table, and who stands to him how."""

    world: World
    people: dict[str, UUID | None]
    ids: dict[str, UUID]

    def where(self, table: str) -> str:
        """The condition that finds the one row."""
        return WHERE.get(table, "true")


@pytest.fixture
def scene(world: World) -> Scene:
    """Everybody, and one row of everything."""
    mentor = world.mentor(FAR_OFF)
    chapter, elsewhere = world.chapter(mentor), world.chapter(world.mentor(FAR_OFF))
    assigned = world.person("coordinator", elsewhere)
    people: dict[str, UUID | None] = {
        SELF: mentor,
        COORDINATOR: world.person("coordinator", chapter),
        ASSIGNED: assigned,
        CHAPTER_ADMIN: world.person("chapter_admin", chapter),
        ORG_ADMIN: world.person("org_admin"),
        ELSEWHERE: world.person("coordinator", elsewhere),
        FOREIGN: uuid4(),
        SIGNED_OUT: None,
        PUBLIC: None,
    }
    world.do("insert into organisations (code, name) values ('NHF', 'NHF')")
    world.do(
        "insert into user_roles (user_id, organisation_id, role)"
        " select %s, id, 'org_admin' from organisations where code = 'NHF'",
        people[FOREIGN],
    )
    coordinator = people[COORDINATOR]
    assert coordinator is not None
    ids = {
        "mentor": mentor,
        "organisation": world.organisation,
        "chapter": chapter,
        "assigned": assigned,
        "coordinator": coordinator,
        "id": uuid4(),
    }
    for table in sorted(SEED, key=lambda name: (name not in ORDER, name)):
        world.conn.execute(f"insert into public.{table} {SEED[table]}".encode(), ids)
    return Scene(world, people, ids)


def tables(world: World) -> set[str]:
    """Every table of the application that holds data."""
    found = world.rows(
        "select c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace"
        " where n.nspname = 'public' and c.relkind in ('r', 'p')"
    )
    return {name for (name,) in found}


def undecided(world: World) -> set[str]:
    """Tables of which nobody has said who may read them, or which are open without a policy."""
    open_without = world.rows(
        "select c.relname from pg_class as c"
        " where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')"
        " and (has_any_column_privilege('authenticated', c.oid, 'select, insert, update')"
        " or has_table_privilege('authenticated', c.oid, 'delete'))"
        " and not exists (select from pg_policy as p where p.polrelid = c.oid)"
    )
    return tables(world) ^ READERS.keys() | {name for (name,) in open_without}


def tried(scene: Scene, who: str, command: str, table: str) -> str:
    """What came of one command on the mentor's row: none, refused, or how many rows it touched."""
    column = "status" if table == "peer_mentors" else first_column(scene.world, table)
    where = scene.where(table)
    statement = {
        "select": f"select 1 from public.{table} where {where}",
        "insert": f"insert into public.{table} default values",
        "update": f"update public.{table} set {column} = {column} where {where}",
        "delete": f"delete from public.{table} where {where}",
    }[command]
    role = {PUBLIC: "anon", "service": "service_role"}.get(who, "authenticated")
    with scene.world.acting_as(scene.people.get(who), role) as client:
        try:
            count = client.conn.execute(statement.encode(), scene.ids).rowcount
        except psycopg.errors.InsufficientPrivilege:
            return "refused"
        except (psycopg.IntegrityError, psycopg.errors.GeneratedAlways):
            return "allowed"  # past grants and policies: only the row itself was no good
    return "none" if count == 0 else "allowed"


def first_column(world: World, table: str) -> str:
    """Some column to set to itself; not an identity, which nobody sets."""
    ((name,),) = world.rows(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0"
        " and not attisdropped and attidentity = '' order by attnum limit 1",
        f"public.{table}",
    )
    return str(name)


@pytest.mark.parametrize("command", ["select", "insert", "update", "delete"])
def test_t4_7_each_reaches_his_own_and_no_more(scene: Scene, command: str) -> None:
    """Table by table, for everybody: VIS-2, VIS-3, VIS-5, NTF-3, AUD-1."""
    wrong = []
    for table in sorted(READERS):
        readers = READERS[table] if command == "select" else WRITERS.get((table, command), NOBODY)
        for who in sorted(EVERYBODY):
            found = tried(scene, who, command, table)
            if (found == "allowed") != (who in readers):
                wrong.append((table, who, found))

    assert wrong == []


@pytest.mark.parametrize("command", ["select", "insert", "update", "delete"])
def test_the_service_role_reaches_everything_but_what_is_kept(scene: Scene, command: str) -> None:
    """VIS-2, T2.10; audit and status history are only ever appended to."""
    wrong = []
    for table in sorted(READERS):
        found = tried(scene, "service", command, table)
        # what others point at is not deleted, which is no refusal either
        if (found == "allowed") != ((table, command) not in KEPT):
            wrong.append((table, found))

    assert wrong == []


POLICIES: Final = {
    "activities": {"SELECT"},
    "assignments": {"SELECT"},
    "certifications": {"SELECT"},
    "chapter_memberships": {"SELECT"},
    "chapters": {"SELECT"},
    "dashboard_alerts": {"SELECT"},
    "data_quality_findings": {"SELECT"},
    "device_tokens": {"SELECT"},
    "followup_scenarios": {"SELECT"},
    "notification_policies": {"SELECT"},
    "notifications": {"SELECT"},
    "organisations": {"SELECT"},
    "peer_mentors": {"SELECT", "UPDATE"},
    "reconciliation_items": {"SELECT"},
    "reconciliation_reports": {"SELECT"},
    "scenario_settings": {"SELECT"},
    "user_roles": {"SELECT"},
}


def test_a_change_of_policies_shows_to_its_second_reviewer(world: World) -> None:
    """VIS-10: which table lets clients do what stands here, so that widening it is in the diff."""
    found: dict[str, set[str]] = {}
    for table, command in world.rows(
        "select tablename, cmd from pg_policies where schemaname = 'public'"
    ):
        found.setdefault(table, set()).add(command)
    assert found == POLICIES


def test_a_table_added_without_a_policy_is_noticed(world: World) -> None:
    """Both ways: nobody said who may read it, or clients were let in and no policy stands there."""
    assert undecided(world) == set()
    world.do("create table public.added_later (id int)")
    assert undecided(world) == {"added_later"}
    world.do("drop table public.added_later")
    world.do("grant insert on public.job_locks to authenticated")
    assert undecided(world) == {"job_locks"}


def test_t2_13_a_lapse_hides_from_the_public_at_once(scene: Scene) -> None:
    """VIS-1: the row is as it was, no job ran, only the date has passed; staff see him still."""
    scene.world.do(
        "update peer_mentors set visible_until = now() - interval '1 second' where id = %s",
        scene.ids["mentor"],
    )
    assert scene.world.state(scene.ids["mentor"])[:2] == ("active", "none")
    assert tried(scene, PUBLIC, "select", "peer_mentors") == "none"
    assert tried(scene, COORDINATOR, "select", "peer_mentors") == "allowed"
    assert tried(scene, SELF, "select", "peer_mentors") == "allowed"


@pytest.mark.parametrize("open_now", [True, False])
def test_the_emergency_switch_widens_reading_and_editing_of_the_status(
    scene: Scene, *, open_now: bool
) -> None:
    """VIS-7: coordinators of the whole organisation, and nobody else; off is as if it never was."""
    scene.world.do(
        "insert into feature_flags (organisation_id, flag, enabled, expires_at, reason)"
        " values (%s, 'widen_coordinator_scope', %s, now() + interval '1 hour', 'flood')",
        scene.world.organisation,
        open_now,
    )
    widened = {COORDINATOR, ASSIGNED, ELSEWHERE, SELF} if open_now else {COORDINATOR, SELF}
    for command in ("select", "update"):
        reached = {
            who for who in EVERYBODY if tried(scene, who, command, "peer_mentors") == "allowed"
        }
        assert reached - {PUBLIC} == widened


def test_each_turn_of_the_emergency_switch_is_on_record(world: World) -> None:
    """VIS-7, AUD-1: whoever turns it, by whatever statement."""
    actor = uuid4()
    world.do(
        "insert into feature_flags (organisation_id, flag, enabled, expires_at, reason, changed_by)"
        " values (%s, 'widen_coordinator_scope', true, '2026-03-03T00:00Z', 'flood', %s)",
        world.organisation,
        actor,
    )
    world.do("update feature_flags set reason = 'flood, still'")
    world.do("update feature_flags set enabled = false")
    world.do("delete from feature_flags")
    world.do("insert into feature_flags (organisation_id, flag, enabled) values (%s, 'x', true)",
             world.organisation)  # fmt: skip

    rows: list[tuple[Any, ...]] = world.rows(
        "select actor_id, action, reason, before -> 'enabled', after -> 'enabled'"
        " from audit_log order by id"
    )
    assert rows == [
        (actor, "scope.switched", "flood", None, True),
        (actor, "scope.switched", "flood, still", True, False),
        (actor, "scope.switched", "flood, still", False, None),
    ]


WIDEN: Final = (
    "insert into public.feature_flags (organisation_id, flag, enabled, expires_at, reason)"
    " values (%s, 'widen_coordinator_scope', true, now() + interval '1 hour', 'flood')"
)
SHOWN_BY_THE_SWITCH: Final = (
    "peer_mentors", "certifications", "activities", "dashboard_alerts", "data_quality_findings",
    "reconciliation_items",
)  # fmt: skip
NOTED: Final = "select mentor_id, actor_id, actor_role, reason from public.widened_reads"


def noted(scene: Scene, who: str, *statements: str, also: str = "select") -> list[tuple[Any, ...]]:
    """What is on record after somebody's statements; all of it undone."""
    with scene.world.acting_as(scene.people[who]) as client:
        client.do(also)
        for statement in statements:
            client.conn.execute(statement.encode(), scene.ids)
        client.do("reset role")
        return client.rows(NOTED + " where actor_role <> 'x'")


@pytest.mark.parametrize("table", SHOWN_BY_THE_SWITCH)
def test_whom_only_the_switch_shows_is_on_record(scene: Scene, table: str) -> None:
    """VIS-7, VIS-9: every use audited, reading too; whoever has a right of his own uses none."""
    read = f"select from public.{table} where {scene.where(table)}"
    assert noted(scene, ELSEWHERE, read) == []
    scene.world.do(WIDEN, scene.world.organisation)

    found = {who: noted(scene, who, read, read) for who in sorted(STAFF | {SELF})}

    used = {ELSEWHERE, ASSIGNED} if READERS[table] >= {SELF} else {ELSEWHERE}
    mentor = scene.ids["mentor"]
    assert found == {
        who: [(mentor, scene.people[who], "authenticated", "flood")] if who in used else []
        for who in found
    }


def test_a_report_s_duplicates_are_on_record_too(scene: Scene) -> None:
    """VIS-7: they pass no policy, for they lie in one column."""
    scene.world.do(
        "update reconciliation_reports set duplicates ="
        " jsonb_build_array(jsonb_build_object('mentor_id', %s::text))",
        scene.ids["mentor"],
    )
    scene.world.do(WIDEN, scene.world.organisation)
    ask = f"select private.my_report_duplicates('{scene.ids['id']}')"
    assert [len(noted(scene, who, ask)) for who in (ELSEWHERE, COORDINATOR, ORG_ADMIN)] == [1, 0, 0]


def test_each_hour_of_reading_is_on_record_once(scene: Scene) -> None:
    """VIS-7: a screen that reloads itself buries nothing; an hour later it is told again."""
    scene.world.do(WIDEN, scene.world.organisation)
    read = "select from public.peer_mentors where id = %(mentor)s"
    earlier = (
        "reset role; insert into public.widened_reads select id, auth.uid(),"
        " date_trunc('hour', now(), 'UTC') - interval '1 hour', now(), organisation_id, 'before',"
        f" 'flood' from public.peer_mentors where id = '{scene.ids['mentor']}';"
        " set local role authenticated"
    )
    roles = [row[2] for row in noted(scene, ELSEWHERE, read, read, also=earlier)]
    assert sorted(roles) == ["authenticated", "before"]


def test_what_cannot_be_written_down_is_not_shown_by_the_switch(scene: Scene) -> None:
    """VIS-7: in a read-only transaction each reads his own, and the switch shows nothing."""
    scene.world.do(WIDEN, scene.world.organisation)
    mine = "select count(*) from public.peer_mentors"
    for who, in_writing, read_only in ((ELSEWHERE, 2, 1), (COORDINATOR, 2, 1)):
        with scene.world.acting_as(scene.people[who]) as client:
            assert client.rows(mine) == [(in_writing,)]
            client.do("set transaction read only")
            assert client.rows(mine) == [(read_only,)]


@pytest.mark.parametrize(
    ("who", "told"),
    [(ELSEWHERE, ["25006"]), (COORDINATOR, ["25006"]), (SELF, []), (PUBLIC, [])],
)
def test_who_could_have_seen_more_is_told_that_the_switch_is_mute(
    scene: Scene, who: str, told: list[str]
) -> None:
    """VIS-7: once a transaction, though rows and statements are many; nothing is taken from him."""
    scene.world.do(WIDEN, scene.world.organisation)
    for _ in range(2):
        scene.world.mentor(FAR_OFF)
    heard: list[tuple[str | None, str | None]] = []
    with scene.world.acting_as(scene.people[who]) as client:
        client.conn.add_notice_handler(
            lambda notice: heard.append((notice.sqlstate, notice.message_hint))
        )
        client.do("set transaction read only")
        for _ in range(2):
            client.rows("select id from public.peer_mentors")

    assert [sqlstate for sqlstate, _ in heard] == told
    assert all("POST" in (hint or "") for _, hint in heard)


@pytest.mark.parametrize("table", ["audit_log", "widened_reads"])
@pytest.mark.parametrize(
    "role", ["anon", "authenticated", "service_role", "peermentor_worker", "peermentor_api"]
)
def test_no_role_rewrites_the_audit(scene: Scene, role: str, table: str) -> None:
    """AUD-1: an update, a deletion or a truncation ends the same for each."""
    for statement in (f"update public.{table} set actor_role = 'y'", f"delete from public.{table}",
                      f"truncate public.{table}"):  # fmt: skip
        with (
            scene.world.acting_as(uuid4(), role) as client,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            client.do(statement)
    assert scene.world.rows(f"select actor_role from public.{table}") == [("x",)]


def test_the_login_of_the_surface_is_nobody_until_it_takes_a_role_on(world: World) -> None:
    """VIS-8: not the worker's, and without rights: it becomes a person, or the service."""
    world.mentor(FAR_OFF)
    with psycopg.connect(world.dsn) as conn:
        conn.execute("set session authorization peermentor_api")
        for statement in ("select from public.peer_mentors", "select from outbox.message",
                          "set local role peermentor_worker"):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege), conn.transaction():
                conn.execute(statement.encode())
        with conn.transaction():
            conn.execute("set local role authenticated")
            assert conn.execute("select count(*) from public.peer_mentors").fetchone() == (0,)
        with conn.transaction():
            conn.execute("set local role service_role")
            assert conn.execute("select count(*) from public.peer_mentors").fetchone() == (1,)
