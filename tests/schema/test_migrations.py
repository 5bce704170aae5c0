"""The way up, the way down, and what an app that was here first notices of it: nothing."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from schema import migrations, shim
from schema.migrations import SchemaNewerThanCode

if TYPE_CHECKING:
    from tests.conftest import Server

MENTOR = UUID("00000000-0000-0000-0000-00000000000a")

# What another team made and uses: its own columns beside ours, its own policy and grants.
EXISTING_APP = """
create table public.organisations (
    id uuid primary key default gen_random_uuid(), code text unique, name text, colour text
);
create table public.peer_mentors (
    id uuid primary key, organisation_id uuid not null references public.organisations,
    display_name text not null, pause_reason text
);
create table public.certifications (
    id uuid primary key default gen_random_uuid(),
    mentor_id uuid not null references public.peer_mentors,
    certificate_type text not null, expiry_date date not null, issued_on date
);
create index peer_mentors_name_idx on public.peer_mentors (display_name);
alter table public.certifications enable row level security;
create policy certifications_theirs on public.certifications for select using (true);
grant select, insert on public.peer_mentors to authenticated;
insert into public.organisations (code, name, colour) values ('HLF', 'H', 'red');
insert into public.peer_mentors
select '00000000-0000-0000-0000-00000000000a', id, 'somebody', 'leave' from public.organisations;
insert into public.certifications (mentor_id, certificate_type, expiry_date)
values ('00000000-0000-0000-0000-00000000000a', 'course', '2020-01-01');
"""

CATALOGUE = """
select 'column', c.relname, a.attname, concat_ws(' ', a.attnum::text,
        format_type(a.atttypid, a.atttypmod), a.attnotnull::text, pg_get_expr(d.adbin, d.adrelid))
from pg_class as c
join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef as d on d.adrelid = c.oid and d.adnum = a.attnum
where c.relnamespace in (select oid from pg_namespace where nspname in ('public', 'app', 'private'))
union all
select 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
from pg_constraint where connamespace = 'public'::regnamespace
union all
select 'index', tablename, indexname, indexdef from pg_indexes where schemaname = 'public'
union all
select 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid)
from pg_trigger where not tgisinternal
union all
select 'policy', tablename, policyname, concat_ws(' ', cmd, roles::text, qual, with_check)
from pg_policies
union all
select 'function', n.nspname, p.proname, pg_get_functiondef(p.oid)
from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
where n.nspname in ('public', 'app', 'private') and p.prokind = 'f'
union all
select 'security', relname, '', concat_ws(' ', relrowsecurity::text, relforcerowsecurity::text)
from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v')
union all
select 'grant', c.relname, a.grantee::regrole::text, a.privilege_type
from pg_class as c
cross join lateral aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) as a
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v')
union all
select 'schema', nspname, '', '' from pg_namespace where nspname !~ '^pg_'
order by 1, 2, 3, 4
"""


def catalogue(dsn: str) -> list[tuple[Any, ...]]:
    """Everything in the application's schemas, comparable."""
    with psycopg.connect(dsn) as conn:
        return conn.execute(CATALOGUE).fetchall()


def run(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as conn:
        cursor = conn.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_up_down_and_up_again(empty_database: str) -> None:
    """Down to nothing leaves nothing but the shim; the second way up equals the first."""
    shim.apply(empty_database)
    before = catalogue(empty_database)
    assert migrations.current(empty_database) is None

    migrations.upgrade(empty_database)
    assert migrations.current(empty_database) == migrations.head()
    migrated = catalogue(empty_database)

    migrations.downgrade(empty_database, "base")
    assert catalogue(empty_database) == before
    assert migrations.current(empty_database) is None

    migrations.upgrade(empty_database)
    assert catalogue(empty_database) == migrated


def test_every_single_step_has_its_way_back(empty_database: str) -> None:
    shim.apply(empty_database)
    stages = [catalogue(empty_database)]
    for _ in range(int(migrations.head())):
        migrations.upgrade(empty_database, "+1")
        stages.append(catalogue(empty_database))

    # below 0006 row-level security stays on where it was switched on: closed, not open
    for stage in reversed(stages[:-1]):
        migrations.downgrade(empty_database, "-1")
        found, wanted = catalogue(empty_database), stage
        ours = {"grant", "security"}
        assert [row for row in found if row[0] not in ours] == [
            row for row in wanted if row[0] not in ours
        ]


def test_upgrading_twice_changes_nothing(database: str) -> None:
    before = catalogue(database)
    migrations.upgrade(database)
    assert catalogue(database) == before


def test_two_deploys_at_once_take_turns(empty_database: str) -> None:
    shim.apply(empty_database)
    with ThreadPoolExecutor(2) as deploys:
        for done in [deploys.submit(migrations.upgrade, empty_database) for _ in range(2)]:
            done.result(timeout=60)
    assert migrations.current(empty_database) == migrations.head()


def test_a_newer_schema_is_refused(empty_database: str) -> None:
    migrations.upgrade(empty_database)
    run(empty_database, "update app.outbox_application_version set version_num = '9999'")

    with pytest.raises(SchemaNewerThanCode) as refused:
        migrations.upgrade(empty_database)

    assert refused.value.revision == "9999"


def test_the_sql_on_paper_does_the_same(empty_database: str, server: Server) -> None:
    migrations.upgrade(empty_database)
    with server.fresh(migrated=False) as by_hand:
        shim.apply(by_hand)
        run(by_hand, migrations.sql())
        assert catalogue(by_hand) == catalogue(empty_database)


def test_an_app_that_was_here_first_goes_on_working(empty_database: str) -> None:
    """T4.9: the statements of yesterday run on the schema of today (MIG-1, MIG-2)."""
    shim.apply(empty_database)
    run(empty_database, EXISTING_APP)
    migrations.upgrade(empty_database)

    assert run(
        empty_database,
        "select status, suppression_status, certification_expiry_date::text, visibility_version"
        " from public.peer_mentors",
    ) == [("active", "none", "2020-01-01", 0)]
    run(
        empty_database,
        "insert into public.peer_mentors (id, organisation_id, display_name)"
        " select gen_random_uuid(), id, 'one more' from public.organisations",
    )
    run(empty_database, "update public.certifications set issued_on = '2019-01-01'")
    rows = run(empty_database, "select * from public.peer_mentors order by display_name")

    assert [row[2:4] for row in rows] == [("one more", None), ("somebody", "leave")]


def test_the_way_down_removes_what_was_added_and_nothing_else(empty_database: str) -> None:
    """MIG-3, MIG-4, T4.9, on a populated copy: columns, policy, grants, rows are as before.

    After use as well.
    """
    shim.apply(empty_database)
    run(empty_database, EXISTING_APP)
    before = catalogue(empty_database)
    rows = (
        "select m.*, c.expiry_date from public.peer_mentors m join public.certifications c on true"
    )
    people = run(empty_database, rows)

    migrations.upgrade(empty_database)
    run(empty_database, "select * from app.pause_lapsed_mentor('" + str(MENTOR) + "')")
    migrations.downgrade(empty_database, "base")

    assert catalogue(empty_database) == before
    assert run(empty_database, rows) == [(*people[0][:3], "certificate_expired", people[0][4])]


def test_the_shim_twice_is_the_shim_once(empty_database: str) -> None:
    assert shim.needed(empty_database)
    shim.apply(empty_database)
    everything = (
        "select oid::regprocedure::text from pg_proc where pronamespace = 'auth'::regnamespace"
    )
    once = (catalogue(empty_database), run(empty_database, everything))

    shim.apply(empty_database)

    assert (catalogue(empty_database), run(empty_database, everything)) == once
    assert not shim.needed(empty_database)


def test_the_shim_leaves_what_the_platform_defines(empty_database: str) -> None:
    """On the platform `auth` belongs to another role; an older body of `auth.uid()` stays."""
    run(
        empty_database,
        "create schema auth; create function auth.uid() returns uuid language sql stable as"
        " $$ select nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$",
    )
    body = "select prosrc from pg_proc where oid = 'auth.uid()'::regprocedure"
    before = run(empty_database, body)

    shim.apply(empty_database)
    migrations.upgrade(empty_database)

    assert run(empty_database, body) == before


def test_generous_default_privileges_are_taken_back(empty_database: str) -> None:
    """The platform grants clients whatever is created in public; the migrations revoke it."""
    shim.apply(empty_database)
    run(
        empty_database,
        "alter default privileges in schema public grant all on tables to anon, authenticated;"
        " alter default privileges in schema public grant all on functions to anon, authenticated",
    )
    migrations.upgrade(empty_database)

    assert (
        run(
            empty_database,
            "select c.relname from pg_class as c where c.relnamespace = 'public'::regnamespace"
            " and c.relkind in ('r', 'v') and c.relname <> 'mentor_listing'"
            " and has_table_privilege('anon', c.oid, 'select, insert, update, delete, truncate')",
        )
        == []
    )
    assert run(
        empty_database,
        "select has_function_privilege('anon', 'public.mark_notification_read(uuid)', 'execute')",
    ) == [(False,)]


def test_a_migrating_role_that_row_security_binds_is_refused(empty_database: str) -> None:
    """Its definer functions would see forced tables as empty, silently."""
    shim.apply(empty_database)
    role = f"plain_{secrets.token_hex(4)}"
    run(empty_database, f"create role {role}; grant all on schema public to {role}")
    name = conninfo_to_dict(empty_database)["dbname"]
    run(empty_database, f"grant create on database {name} to {role}")
    try:
        with pytest.raises(psycopg.errors.RaiseException, match="bypass"):
            migrations.upgrade(make_conninfo(empty_database, options=f"-c role={role}"))
    finally:
        run(empty_database, f"drop owned by {role}; drop role {role}")
