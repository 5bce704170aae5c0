"""The application's statements are held to their headers as the engine's are.

With sequential scans discouraged each named index must be usable by its statement; and what runs
for each push, each portal call and each look of the scheduler reads no large table whole. The types
of the parameters are asked of the server, which infers them; values are made of the types.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest

from tests.plans.test_plans import header
from tests.plans.test_plans import named as named_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Server

ROOT: Final = Path(__file__).parents[2]
SEED: Final = Path(__file__).with_name("application_seed.sql")
FILES: Final = {
    f"{path.parts[-3]}/{path.stem}": path
    for package in ("handlers", "sagas")
    for path in sorted((ROOT / package).glob("**/sql/*.sql"))
}

# An insert that meets no conflict touches every index of its table; none decides how it runs.
INSERTS_ONLY: Final = frozenset(
    f"sagas/{name}"
    for name in (
        "insert_audit", "insert_credential_check", "insert_items", "insert_report",
        "insert_report_items", "seed_certificates", "seed_chapters", "seed_mentors",
        "seed_organisations", "seed_roles", "start_run", "seed_assignments", "seed_devices",
        "seed_memberships",
    )
)  # fmt: skip
# What they do is done by a function of the database, where EXPLAIN does not look.
INSIDE_A_FUNCTION: Final = frozenset({
    "http/mark_read", "http/my_mentors", "http/my_report_duplicates", "http/note_reads",
    "http/register_device", "mentor_state/bump_visibility", "sagas/pause_mentor",
    "sagas/reactivate_mentor",
})  # fmt: skip
HOT: Final = (
    "alerts/close_alert", "alerts/open_alert", "fcm/forget_devices", "fcm/load_devices",
    "fcm/load_groups", "fcm/load_resent_in_doubt", "fcm/settle_pushes", "in_app/group_items",
    "in_app/write_inbox", "portal/note_unknown", "portal/record_told", "portal/wanted_visibility",
    "sagas/ended_since", "sagas/fired_reminders", "sagas/job_standings", "sagas/recent_pushes",
    "sagas/status_changes", "sagas/usable_recipients", "http/my_notifications",
)  # fmt: skip
LARGE: Final = (
    "activities|audit_log|cert_expiry_reminders|cert_notification_log|certifications|"
    "chapter_memberships|credential_checks|dashboard_alerts|delivery|device_tokens|job_runs|message|"
    "mentor_status_history|notification_groups|notification_items|notifications|peer_mentors|"
    "portal_sync_state|prompt_history|reconciliation_items"
)

SOMEBODY: Final = "00000000-0000-0000-0000-000000000007"
BY_TYPE: Final = {
    "uuid": SOMEBODY, "text": "x", "integer": "7", "bigint": "7", "smallint": "7",
    "boolean": "true", "date": "2026-03-02", "timestamp with time zone": "2026-03-02T00:05Z",
    "jsonb": "{}", "interval": "1 day", "numeric": "7", "name": "x",
}  # fmt: skip
BY_NAME: Final = {
    "audience": "mentor", "handler": "portal", "state": "open", "status": "failed",
    "type": "data_quality",
}  # fmt: skip
FIRST_PAGE: Final[dict[str, dict[str, str | None]]] = {
    "http/my_alerts": {"before": None, "state": "all"},
    "http/my_notifications": {"before": None},
    "http/my_reports": {"before": None, "report_id": None},
}
"""A page that follows no other: what was left out is null."""
OF_THE_SERVICE: Final = frozenset({"http/sync_event"})
AS_A_PERSON: Final = json.dumps({"role": "authenticated", "sub": SOMEBODY})


@pytest.fixture(scope="module")
def conn(server: Server) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Thousands of rows in every table, and statistics of them."""
    with server.fresh(migrated=True) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("set session_replication_role = replica")
        conn.execute(SEED.read_text(encoding="utf-8").encode())
        conn.execute("reset session_replication_role")
        conn.execute("vacuum analyze")
        conn.execute("set jit = off")
        yield conn


def plan_of(
    conn: psycopg.Connection[tuple[Any, ...]], name: str, *, discouraged: bool, **values: str | None
) -> str:
    """The plan for values of the types that the server infers, or those given by name."""
    names: list[str] = []

    def place(found: re.Match[str]) -> str:
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    body = re.sub(r"(?m)^--.*\n", "", FILES[name].read_text(encoding="utf-8"))
    text = re.sub(r"%\((\w+)\)s", place, body).replace("%%", "%")
    conn.execute("deallocate all")  # a rollback keeps what was prepared
    with conn.transaction(force_rollback=True):
        conn.execute(b"prepare looked_at as " + text.encode())
        ((types,),) = conn.execute(
            "select parameter_types::text[] from pg_prepared_statements where name = 'looked_at'"
        )
        given = [
            values[one] if one in values else _value(one, type_)
            for one, type_ in zip(names, types, strict=True)
        ]
        literals = [psycopg.sql.Literal(value).as_string(conn) for value in given]
        arguments = f"({', '.join(literals)})" if literals else ""
        if discouraged:
            conn.execute("set local enable_seqscan = off")
        if name.startswith("http/") and name not in OF_THE_SERVICE:  # policies are part of the plan
            conn.execute("select set_config('request.jwt.claims', %s, true)", [AS_A_PERSON])
            conn.execute("set local role authenticated")
        conn.execute("set local plan_cache_mode = force_custom_plan")
        rows = conn.execute(f"explain execute looked_at{arguments}".encode()).fetchall()
    return "\n".join(row[0] for row in rows)


def _value(name: str, type_: str) -> str:
    if type_.endswith("[]"):
        return "{" + ",".join([BY_TYPE[type_.removesuffix("[]")]] * 3) + "}"
    return BY_NAME.get(name, BY_TYPE[type_])


def text_of(name: str) -> str:
    """The statement's file."""
    return FILES[name].read_text(encoding="utf-8")


def named(text: str) -> dict[str, str]:
    """Index name -> its columns, as the header tells them; nothing where it names none."""
    return {} if header(text).startswith("none") else named_by(text)


def with_an_index() -> list[str]:
    """Statements whose plan can show what they name."""
    return [
        name
        for name in FILES
        if named(text_of(name)) and name not in INSERTS_ONLY | INSIDE_A_FUNCTION
    ]


def test_every_statement_says_which_index_or_why_none() -> None:
    bare = [
        name
        for name in FILES
        if not named(text_of(name)) and not re.match(r"none(, | \()\w", header(text_of(name)))
    ]

    assert len(FILES) > 100
    assert not bare


@pytest.mark.parametrize("name", FILES)
def test_the_index_named_is_the_index_there_is(
    name: str, conn: psycopg.Connection[tuple[Any, ...]]
) -> None:
    for index, columns in named(text_of(name)).items():
        found = conn.execute(
            "select pg_get_indexdef(oid) from pg_class where relname = %s", (index,)
        ).fetchone()
        assert found is not None, index
        assert f"({columns})" in found[0].replace('"', "").lower(), index


@pytest.mark.parametrize("name", with_an_index())
def test_each_named_index_is_usable(name: str, conn: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Sequential scans are discouraged: it proves that the index can serve, no more."""
    plan = plan_of(conn, name, discouraged=True, **FIRST_PAGE.get(name, {}))

    assert [index for index in named(text_of(name)) if index not in plan] == [], plan


@pytest.mark.parametrize("name", HOT)
def test_what_runs_often_reads_no_large_table_whole(
    name: str, conn: psycopg.Connection[tuple[Any, ...]]
) -> None:
    """As a session plans it that was told nothing."""
    plan = plan_of(conn, name, discouraged=False, **FIRST_PAGE.get(name, {}))

    assert not re.search(rf"Seq Scan on ({LARGE})\b", plan), plan
