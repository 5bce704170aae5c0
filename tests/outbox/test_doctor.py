"""The doctor: each finding provoked on a real database or, where it cannot be, decided purely."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outbox import App, Dead, Effect, Unknown
from outbox.checkup import check_up, made_by
from outbox.doctor import examine
from outbox.findings import Bell, Facts, Finding, HistoryState, Severity
from outbox.migrations import ENGINE
from outbox.queries_doctor import Server as ServerFacts
from outbox.queries_doctor import Snapshot
from outbox.redrive import set_paused
from outbox.testing import OutboxHarness
from tests.outbox.shop import MINUTE, OrderPlaced, Unheard, made, mailer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outbox.queries import Conn
    from tests.conftest import Server
    from tests.outbox.conftest import Opened, Rows

ALIVE = "insert into outbox.relay (id, started_at, seen_at, handlers, version, clock_skew)"
ALIVE += " values (%s, now(), now(), %s, %s, %s)"

SOUND = ServerFacts(
    version_num=150_004, version="15.4", fsync=True, full_page_writes=True,
    synchronous_commit="on", autovacuum=True, default_isolation="read committed", read_only=False,
    database_bytes=1, sees_all_sessions=True, clock=datetime.now(UTC),
)  # fmt: skip


async def findings(app: App, dsn: str, **terms: Any) -> list[Finding]:
    """All but what is wrong with a server that tests may spoil, and that others use meanwhile."""
    facts = await check_up(app, dsn, **terms)
    return [one for one in examine(facts) if one.check not in {"server", "snapshots", "bloat"}]


async def checks(app: App, dsn: str, **terms: Any) -> list[tuple[str, str]]:
    return [(one.severity.value, one.check) for one in await findings(app, dsn, **terms)]


def of(facts: Facts, check: str) -> list[Finding]:
    return [one for one in examine(facts) if one.check == check]


async def test_a_sound_database_has_no_findings(database: str, rows: Rows, opened: Opened) -> None:
    box = await opened(mailer())
    await box.publish(OrderPlaced(order_id=1))
    rows(ALIVE, "far:1:a", ["mailer"], "0.1.0", timedelta(0))

    assert await findings(box.app, database) == []


async def test_an_application_adds_what_it_finds_itself(database: str) -> None:
    """Its findings stand among the others by severity; one that breaks hides nothing else."""
    own = Finding(Severity.NOTE, "shop", "the till is open", "it is late", "close it")

    async def look(conn: Conn) -> list[Finding]:
        await conn.execute("select 1")
        return [own]

    async def fail(conn: Conn) -> list[Finding]:
        await conn.execute("select from nowhere")
        return [own]

    found = await findings(App("shop", doctor=look), database)
    broken = await findings(App("shop", doctor=fail), database)

    assert found == [own]
    assert [(one.check, one.what) for one in broken] == [
        ("sight", "what shop looks at itself (UndefinedTable) could not be read")
    ]


async def test_what_the_revisions_make_is_read_from_their_sql(rows: Rows) -> None:
    tables, indexes = made_by(ENGINE.sql())
    there: dict[str, str] = dict(
        rows("select indexname, tablename from pg_indexes where schemaname = 'outbox'")
    )
    hot = {name for name, table in there.items() if table in {"delivery", "message", "lease"}}

    assert {name: table for name, (table, _) in indexes.items()}.items() <= there.items()
    assert hot <= set(indexes)
    assert "delivery" in tables
    assert indexes["delivery_due_idx"] == ("delivery", "handler, due_at, id")


async def test_missing_invalid_and_different_indexes(server: Server) -> None:
    with server.fresh(migrated=True) as dsn:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("drop index outbox.delivery_ready_idx, outbox.delivery_due_idx")
            conn.execute("create index delivery_due_idx on outbox.delivery (due_at)")
            conn.execute(
                "update pg_index set indisvalid = false"
                " where indexrelid = 'outbox.delivery_key_idx'::regclass"
            )
        found = await findings(made(), dsn)

    assert [(one.severity, one.what.split()[1]) for one in found if one.check == "indexes"] == [
        (Severity.ERROR, "delivery_ready_idx"),
        (Severity.ERROR, "delivery_key_idx"),
        (Severity.WARNING, "delivery_due_idx"),
    ]
    assert any("reindex index concurrently outbox.delivery_key_idx" in one.cure for one in found)


async def test_a_database_that_is_not_migrated_or_by_half(
    empty_database: str, server: Server
) -> None:
    never = await checks(made(), empty_database)
    with server.fresh(migrated=True) as dsn:
        with psycopg.connect(dsn) as conn:
            conn.execute("drop table outbox.saga_transition")
        half = await findings(made(), dsn)
        with psycopg.connect(dsn) as conn:
            conn.execute("update outbox.revision set version_num = '9999'")
        suits = await checks(made(), dsn)
        with psycopg.connect(dsn) as conn:
            conn.execute("update outbox.compatibility set compatible_from = '9999'")
        newer = await findings(made(), dsn)

    assert never == [("error", "migrations")]
    assert [(one.check, one.what) for one in half if one.severity is Severity.ERROR] == [
        ("tables", "missing in schema outbox: saga_transition")
    ]
    assert ("note", "migrations") in suits
    assert [one.check for one in newer] == ["migrations"]
    assert "9999, which this program does not know" in newer[0].what


def test_a_history_that_is_behind_says_how_far() -> None:
    (found,) = of(
        Facts(histories=[HistoryState("app.version", "1", ["3", "2", "1"])]), "migrations"
    )

    assert "at 1, 2 behind 3" in found.what
    assert "outbox migrate" in found.cure


async def test_deliveries_without_a_relay_and_of_a_handler_nobody_has(
    database: str, rows: Rows, opened: Opened
) -> None:
    box = await opened(mailer(), mailer(name="ledger"))
    await box.publish(OrderPlaced(order_id=1))
    rows("update outbox.delivery set handler = 'postman' where handler = 'ledger'")
    dark = await findings(box.app, database)
    rows(ALIVE, "far:1:a", ["mailer", "postman"], "0.1.0", timedelta(0))

    assert [(one.check, "postman" in one.what) for one in dark] == [
        ("relays", False), ("handlers", True),
    ]  # fmt: skip
    assert await findings(box.app, database) == []


async def test_relays_of_two_versions_and_a_clock_that_is_off(
    database: str, rows: Rows, opened: Opened
) -> None:
    box = await opened(mailer())
    rows(ALIVE, "far:1:a", ["mailer"], "0.1.0", timedelta(seconds=-90))
    rows(ALIVE, "far:2:b", ["mailer"], "0.2.0", timedelta(0))

    found = await findings(box.app, database)

    assert [(one.severity, one.check) for one in found] == [
        (Severity.WARNING, "clock"), (Severity.NOTE, "relays"),
    ]  # fmt: skip
    assert "relay far:1:a is -90.0 s off" in found[0].what
    assert "0.1.0, 0.2.0" in found[1].what


def test_this_machines_clock_is_compared_too() -> None:
    facts = Facts(server=SOUND, host_clock=SOUND.clock + timedelta(seconds=3))

    assert "this machine is +3.0 s off" in of(facts, "clock")[0].what
    assert of(replace(facts, host_clock=SOUND.clock + timedelta(seconds=1)), "clock") == []


async def test_a_running_relay_tells_its_version_and_clock(database: str, rows: Rows) -> None:
    async with OutboxHarness.opened(made(mailer()), database) as box:
        async with box.relay.pool.connection() as conn:
            await box.relay._beat(conn)
        ((version, off),) = rows(
            "select version, abs(extract(epoch from clock_skew)) < 5 from outbox.relay"
        )

    assert version == box.relay.vitals.version
    assert off is True


async def test_routes_to_nobody_and_messages_without_a_route(
    database: str, rows: Rows, opened: Opened
) -> None:
    box = await opened(mailer())
    rows(ALIVE, "far:1:a", ["mailer"], "0.1.0", timedelta(0))
    rows("insert into outbox.route (topic, handler) values ('order.placed', 'postman')")
    await box.publish(Unheard())

    found = await findings(box.app, database)

    assert [one.check for one in found] == ["routes", "routes"]
    assert "'postman', which nobody has: order.placed" in found[0].what
    assert "1 messages of tree.fallen" in found[1].what


async def test_a_bell_that_is_rung_elsewhere_is_not_heard(
    database: str, server: Server, rows: Rows, opened: Opened
) -> None:
    """LISTEN in another database of the same server hears nothing."""
    box = await opened(mailer())
    rows(ALIVE, "far:1:a", ["mailer"], "0.1.0", timedelta(0))

    deaf = await findings(box.app, database, listen_dsn=server.dsn, bell_seconds=0.2)

    assert [one.check for one in deaf] == ["bell"]
    assert await findings(box.app, database, listen_dsn=database) == []


def test_a_transaction_pooler_wants_an_address_of_its_own_for_the_bell() -> None:
    pooled = Facts(bell=Bell(heard=True, own_address=False, pooled=True))
    direct = Facts(bell=Bell(heard=True, own_address=True, pooled=True))

    assert "DATABASE_LISTEN_URL is not set" in of(pooled, "pooler")[0].what
    assert examine(direct) == []


@pytest.mark.parametrize(
    ("change", "severity", "words"),
    [
        ({"version_num": 140_009, "version": "14.9"}, Severity.ERROR, "14.9 is older than 15"),
        ({"fsync": False}, Severity.ERROR, "fsync is off"),
        ({"full_page_writes": False}, Severity.ERROR, "full_page_writes is off"),
        ({"synchronous_commit": "off"}, Severity.WARNING, "synchronous_commit is off"),
        ({"autovacuum": False}, Severity.ERROR, "autovacuum"),
        ({"read_only": True}, Severity.ERROR, "standby"),
        ({"default_isolation": "serializable"}, Severity.WARNING, "is serializable"),
        ({"default_isolation": "repeatable read"}, Severity.WARNING, "is repeatable read"),
    ],
)
def test_settings_that_break_promises(change: Any, severity: Severity, words: str) -> None:
    (found,) = of(Facts(server=replace(SOUND, **change)), "server")

    assert found.severity is severity
    assert words in found.what
    assert of(Facts(server=SOUND), "server") == []


async def test_settings_are_read_as_they_are_in_force(server: Server) -> None:
    with server.fresh(migrated=True) as dsn:
        with psycopg.connect(dsn, autocommit=True) as conn:
            name = conn.info.dbname
            conn.execute(f"alter database {name} set synchronous_commit = off".encode())
            conn.execute(
                f"alter database {name} set default_transaction_isolation = serializable".encode()
            )
        found = of(await check_up(made(), dsn), "server")

    assert {"synchronous_commit", "default_transaction_isolation"} <= {
        one.what.split()[0] for one in found
    }


async def test_dead_rows_and_a_table_that_is_never_vacuumed(server: Server) -> None:
    with server.fresh(migrated=True) as dsn:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("alter table outbox.dedup set (autovacuum_enabled = false)")
            conn.execute(
                "insert into outbox.dedup select 't', n, n from generate_series(1, 60000) n"
            )
            conn.execute("delete from outbox.dedup")
            conn.execute("select pg_stat_force_next_flush()")
        found = of(await check_up(made(), dsn), "bloat")

    assert [one.severity for one in found] == [Severity.ERROR, Severity.WARNING]
    assert "switched off for outbox.dedup" in found[0].what
    assert "outbox.dedup has 60000 dead rows beside 0 live ones" in found[1].what
    assert "last vacuumed never" in found[1].what


async def test_a_session_that_holds_old_rows(database: str) -> None:
    with psycopg.connect(database) as forgotten:
        forgotten.execute("select 1")
        pid = forgotten.info.backend_pid
        facts = await check_up(made(), database)
    (mine,) = [one for one in facts.snapshots if one.name == str(pid)]
    old = replace(mine, open_for=timedelta(minutes=6))

    assert mine.state == "idle in transaction"
    assert f"session {pid} (idle in transaction)" in of(Facts(snapshots=[old]), "snapshots")[0].what
    assert of(Facts(snapshots=[mine]), "snapshots") == []


def test_prepared_transactions_and_slots_that_hold_old_rows() -> None:
    """This server allows neither: the decision alone."""
    prepared = Snapshot("prepared", "gid", "prepared", timedelta(minutes=6), 10)
    slot = Snapshot("slot", "copy", "inactive", None, 2_000_000)
    found = of(Facts(snapshots=[prepared, slot]), "snapshots")

    assert ["6 minutes old" in found[0].what, "slot copy (inactive)" in found[1].what] == [True] * 2
    assert of(Facts(snapshots=[replace(slot, age=1_000)]), "snapshots") == []


async def test_what_wants_a_person(database: str, rows: Rows, opened: Opened) -> None:
    box = await opened(mailer(effect=Effect.AMBIGUOUS), mailer(name="ledger"))
    rows(ALIVE, "far:1:a", ["mailer", "ledger"], "0.1.0", timedelta(0))
    for _ in range(2):
        await box.publish(OrderPlaced(order_id=1))
    held, dead = await box.claim("mailer")
    await box.settle(held, Unknown("timeout"))
    await box.settle(dead, Dead("refused"))
    box.advance(MINUTE + timedelta(seconds=1))
    late = {one.check for one in await findings(box.app, database)}
    async with box.relay.pool.connection() as conn:
        await set_paused(conn, handler="ledger", paused=True, actor="ada", why="new certificate")
    paused = await findings(box.app, database)

    assert late == {"unknown", "dead", "overdue"}
    assert {one.check for one in paused} == {"unknown", "dead", "paused"}
    assert "paused by ada" in next(one.what for one in paused if one.check == "paused")


async def test_ids_that_are_taken_and_ids_that_run_out(server: Server) -> None:
    with server.fresh(migrated=True) as dsn:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(
                "insert into outbox.message (topic, version, payload) values ('t', 1, '{}')"
            )
            conn.execute("update outbox.message set id = default")
            conn.execute("alter sequence outbox.message_id_seq restart with 1")
            conn.execute("select nextval('outbox.message_id_seq')")
            conn.execute("alter sequence outbox.receipt_id_seq maxvalue 10")
            conn.execute("select setval('outbox.receipt_id_seq', 9)")
        found = [one for one in await findings(made(), dsn) if one.check == "sequences"]

    assert [one.what for one in found] == [
        "message_id_seq is at 1, its table at 2", "receipt_id_seq is at 9 of 10",
    ]  # fmt: skip


@contextmanager
def blind_role(dsn: str) -> Iterator[None]:
    """A role that may read the revision and nothing else."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("create role outbox_blind")
        try:
            conn.execute("grant usage on schema outbox to outbox_blind")
            conn.execute("grant select on outbox.revision to outbox_blind")
            yield
        finally:
            conn.execute("drop owned by outbox_blind")
            conn.execute("drop role outbox_blind")


async def test_what_a_role_may_not_see_is_said(database: str) -> None:
    """An address with options is not a URL any more, so it is made one."""
    with blind_role(database):
        separator = "&" if "?" in database else "?"
        found = await findings(made(), f"{database}{separator}options=-c%20role%3Doutbox_blind")
    said = [one.what for one in found if one.check == "sight"]

    assert "this role does not see other roles' sessions" in said
    assert "depths could not be read" in said
