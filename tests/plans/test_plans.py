"""Each statement's `index:` header is held to what EXPLAIN says on a seeded, analysed database.

Twice: with sequential scans discouraged, each named index must be usable by its statement; and
the hot path, planned as a relay's session plans it, reads no table whole and touches few pages
when it runs.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest

from outbox.dsn import for_relay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Server

ROOT = Path(__file__).parents[2]
FILES = {
    path.stem: path
    for path in sorted((ROOT / "outbox").glob("**/sql/*.sql"))
    if "migrations" not in path.parts
}

# Their work happens inside a function of the database, where EXPLAIN does not look.
INSIDE_A_FUNCTION = {"publish_message", "publish_messages", "publish_addressed"}
# An insert touches every index of its table; none of them decides how it runs.
INSERTS_ONLY = {"append_transitions", "start_sagas", "insert_operation", "start_redrive"}
HOT = {
    "claim", "lock_keys", "lease_runs", "find_newest", "lease_newest", "claim_lone",
    "has_suspect", "mark_begun", "close_leases", "release_keys", "give_back", "settle_done",
    "settle_final", "settle_retry", "settle_dead", "settle_unknown", "expire_begun",
    "bury_poisoned", "exchange_tickets", "exchange_keys", "split_tickets", "take_back_tickets",
    "free_tickets", "resend_tickets", "ticket_rooms", "supersede_overtaken", "withdraw_deliveries",
    "list_receipts", "lock_sagas", "store_sagas", "find_origins", "revoke_deliveries",
    "revoke_letters",
    "audit_front", "audit_keys",
}  # fmt: skip

# Filters that are left out are null; each way of asking has its index.
EVERYBODY = {"handlers": [f"handler:{n}" for n in range(50)]}
ONE_FILTER: list[dict[str, Any]] = [
    dict.fromkeys({"delivery_ids", "failure_group", "handler", "key", "since"} - kept) | EVERYBODY
    for kept in ({"delivery_ids"}, {"failure_group"}, {"handler", "key"}, {"since"})
]
FILTERS: dict[str, list[dict[str, Any]]] = {
    "count_letters": ONE_FILTER, "mark_letters": ONE_FILTER, "dismiss_letters": ONE_FILTER,
    "claim_ranked": [{"by_age": True}, {}],
    "list_dead": ONE_FILTER, "release_keys": [{"keys": None}, {}],
    "audit_keys": [{"after": ""}, {"after": "key:1"}],
}  # fmt: skip
# Pages a statement may touch here; those that look `window` rows ahead, or audit, ask more per row.
PAGES_MAX = {"lock_keys": 5_000, "audit_keys": 5_000, "audit_front": 40_000}
PAGES_MAX_OTHERS = 400
NOW = datetime.now(UTC)
TOKEN = UUID(int=7)
VALUES: dict[str, Any] = {
    "now": NOW,
    "handler": "mailer",
    "relay": "relay:1",
    "ids": [5, 6, 7],
    "limit": 10,
    "again_limit": 5,
    "key": "key:7",
    "delivery_id": 7,
    "token": TOKEN,
    "wait": timedelta(0),
    "saga_id": 7,
    "tokens": [TOKEN] * 3,
    "reasons": ["busy"] * 3,
    "lease": timedelta(seconds=30),
    "delivery_ids": [2_995, 2_996],
    "topic": "t.one",
    "reason": "busy",
    "paused": True,
    "name": "watch",
    "names": ["watch"],
    "actor": "somebody",
    "version": 1,
    "topics": ["t.one"],
    "state_version": 1,
    "states": ["{}"] * 3,
    "versions_before": [1] * 3,
    "state_versions": [1] * 3,
    "endeds": [False] * 3,
    "parked_whys": [None] * 3,
    "transitions": "[]",
    "probe_after": timedelta(seconds=30),
    "keys": ["key:1", "key:2", "key:7"],
    "keyless": False,
    "why": "",
    "waits": [timedelta(0)] * 3,
    "versions": [2] * 3,
    "timers": ["{}"] * 3,
    "sqlstates": [None] * 3,
    "spents": [True] * 3,
    "positions": [9_999] * 3,
    "outcomes": ["done"] * 3,
    "ordered": True,
    "message_ids": [5, 6, 7],
    "message_id": 7,
    "may_take": timedelta(seconds=20),
    "lone_claims_max": 3,
    "handlers": ["mailer"],
    "frames": [None] * 3,
    "error_types": [None] * 3,
    "ended": False,
    "details": [None] * 3,
    "after": 0,
    "headed": True,
    "unhandled": True,
    "probes": True,
    "blocks": True,
    "locked": True,
    "first_id": 5,
    "last_id": 7,
    "window": 200,
    "again_keys": ["key:7"],
    "run_max": 10,
    "look_max": 11,
    "asleep": True,
    "history": "outbox.revision",
    "by_age": False,
    "keep": timedelta(days=1),
    "dedup_key": "key:7",
    "reads": ["t.one 1"],
    "queue": "outbox.7.mailer.1",
    "queues": ["outbox.7.mailer.1"],
    "tickets": [TOKEN] * 3,
    "ticket_maxs": [2],
    "slots": [10],
    "worker": "worker:1",
    "throttled": [],
    "within": timedelta(seconds=30),
    "failures_min": 3,
    "failing": True,
    "failed": True,
    "probe_after_max": timedelta(minutes=2),
    "host_now": NOW,
    "hands_over": False,
    "trouble": None,
    "word": "doctor",
    "grace": timedelta(minutes=1),
    "span": timedelta(seconds=10),
    "sequences": None,
    "failure_group": "0123456789ab",
    "since": NOW - timedelta(minutes=1),
    "operation_id": 7,
    "pace": 10,
    "start_at": NOW,
    "canary": True,
    "canary_id": None,
    "canary_message_id": None,
    "next_due_at": None,
    "released": 0,
    "blocking": ["mailer"],
    "outage": True,
    "alone_min": 0,
    "ask_at": None,
    "answer": "cannot_know",
    "ended_as": None,
    "selection": "{}",
    "found": 1,
    "action": "redrive",
    "priorities": None,
    "application": "shop",
    "owner": "shop",
}

# Tens of thousands of rows, since on a few thousand the planner rightly reads small tables whole.
SEED = """
insert into outbox.message (topic, version, payload, key)
select 't.one', 1, '{}', 'key:' || n % 5000 from generate_series(1, 30000) as n;
insert into outbox.delivery (message_id, handler, key, position, due_at, last_reason)
select id, case when id % 2 = 0 then 'mailer' else 'ledger' end, key, id,
    case when id % 3 = 0 then now() + make_interval(secs => id - 20000) end, 'busy'
from outbox.message where id > 10000;
insert into outbox.delivery (
    message_id, handler, key, position, lease_token, lease_until, begun_at
)
select id, 'mailer', 'leased:' || id, id, gen_random_uuid(), now() + make_interval(secs => id),
    case when id % 2 = 0 then now() end
from outbox.message where id <= 2000;
insert into outbox.delivery (message_id, handler, position, priority)
select id, 'mailer', id, id % 7 - 3 from outbox.message where id > 20000;
update outbox.delivery set unknown_at = now() where begun_at is not null and id % 3 = 0;
insert into outbox.lease (token, handler, relay, until, deliveries)
select lease_token, handler, 'relay:1', lease_until, array[id]
from outbox.delivery where lease_token is not null;
insert into outbox.key_lease (handler, key, token, until)
select handler, key, lease_token, lease_until
from outbox.delivery where lease_token is not null;
insert into outbox.newest
select 'mailer', 'key:' || id, id, id, id from outbox.message where id < 5000;
insert into outbox.dead_letter (
    delivery_id, message_id, handler, key, position, attempts, reason, died_at
)
select id, id, 'handler:' || id % 50, key, id, 1, 'refused', now() - make_interval(secs => id)
from outbox.message where id <= 3000;
insert into outbox.operation (at, actor, action, selection, found)
select now(), 'somebody', 'redrive', '{}', n from generate_series(1, 3000) as n;
insert into outbox.redrive (operation_id, canary, ended_at, ended_as)
select id, false, case when id > 3 then now() end, case when id > 3 then 'released' end
from outbox.operation;
insert into outbox.question (delivery_id, handler, call_token, due_at)
select id, 'handler:' || id % 50, gen_random_uuid(), now() from outbox.message where id <= 3000;
update outbox.dead_letter set redrive_id = delivery_id % 300 where delivery_id % 3 = 0;
insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, settled_at)
select id, id, 'mailer', 1, 'done', now() from outbox.message;
insert into outbox.dedup
select 't.one', 'key:' || id, id, now() - interval '1 day' from outbox.message;
insert into outbox.unrouted (message_id, topic)
select id, 'u.' || id % 50 from outbox.message where id <= 3000;
insert into outbox.route (topic, handler)
select 't.' || n, 'mailer' from generate_series(1, 500) as n;
insert into outbox.route (topic, handler) values ('u.7', 'mailer');
insert into outbox.destination (handler) select 'handler:' || n from generate_series(1, 500) as n;
insert into outbox.destination (handler) values ('mailer'), ('ledger');
insert into outbox.destination_failure (handler, delivery_id, failed_at)
select case when n < 10 then 'mailer' else 'handler:' || n % 50 end, n, now()
from generate_series(1, 3000) as n;
insert into outbox.relay
select 'relay:' || n, now(), now(), '{}', null from generate_series(1, 500) as n;
insert into outbox.compatibility
select 'history:' || n, '0001' from generate_series(1, 500) as n;
insert into outbox.worker
select 'worker:' || n, 'handler:' || n, 'outbox.7.' || n, '{}', 2, 10, now(), now()
from generate_series(1, 500) as n;
insert into outbox.saga (
    name, key, state, state_version, version, started_at, changed_at, ended_at
)
select 'watch', 'key:' || n, '{}', 1, 1, now(), now(), case when n % 2 = 0 then now() end
from generate_series(1, 3000) as n;
insert into outbox.saga_transition (saga_id, version, message_id, topic, change, published, at)
select id, 2, id, 't.one', '{}', array[id], now() from outbox.saga;
"""


def header(text: str) -> str:
    """The `index:` line with its continuations, as one line."""
    lines = [line.removeprefix("--").strip() for line in text.splitlines() if line.startswith("--")]
    joined = " ".join(lines)
    return joined.partition("index:")[2].partition("why:")[0].strip()


def named(text: str) -> dict[str, str]:
    """Index name -> its columns, as the header tells them."""
    return dict(re.findall(r"(\w+) \(([\w, ]+)\)", header(text)))


def with_an_index() -> list[str]:
    return [
        name
        for name, path in FILES.items()
        if not header(path.read_text(encoding="utf-8")).startswith("none")
        and name not in INSIDE_A_FUNCTION | INSERTS_ONLY
    ]


@pytest.fixture(scope="module")
def conn(server: Server) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A few thousand rows in every table, and statistics of them."""
    with server.fresh(migrated=True) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(SEED)
        conn.execute("vacuum analyze")
        yield conn


@pytest.fixture(scope="module")
def relay_conn(
    conn: psycopg.Connection[tuple[Any, ...]],
) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A session with the options of a relay's own, on the same database."""
    dsn = for_relay(conn.info.dsn, timedelta(minutes=1))
    with psycopg.connect(dsn, autocommit=True) as relay_conn:
        yield relay_conn


def pages_touched(conn: psycopg.Connection[tuple[Any, ...]], name: str) -> int:
    """Pages of shared memory that the statement reads or writes when it runs, undone at once."""
    body = re.sub(r"(?m)^--.*\n", "", FILES[name].read_text(encoding="utf-8"))
    with conn.transaction(force_rollback=True):
        cursor = psycopg.ClientCursor(conn).execute(
            "explain (analyze, buffers, timing off, format json) " + body, VALUES
        )
        row = cursor.fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


def plan_of(
    conn: psycopg.Connection[tuple[Any, ...]], name: str, *, discouraged: bool, **other: Any
) -> str:
    body = re.sub(r"(?m)^--.*\n", "", FILES[name].read_text(encoding="utf-8"))
    with conn.transaction(force_rollback=True):
        if discouraged:
            conn.execute("set local enable_seqscan = off")
        cursor = psycopg.ClientCursor(conn).execute("explain " + body, VALUES | other)
        return "\n".join(row[0] for row in cursor.fetchall())


def test_every_statement_says_which_index_or_why_none() -> None:
    silent = [name for name, path in FILES.items() if not header(path.read_text(encoding="utf-8"))]
    bare = [
        name
        for name, path in FILES.items()
        if (line := header(path.read_text(encoding="utf-8"))).startswith("none") and "," not in line
    ]

    assert FILES
    assert not silent
    assert not bare


@pytest.mark.parametrize("name", FILES)
def test_the_index_named_is_the_index_there_is(
    name: str, conn: psycopg.Connection[tuple[Any, ...]]
) -> None:
    for index, columns in named(FILES[name].read_text(encoding="utf-8")).items():
        found = conn.execute(
            "select pg_get_indexdef(oid) from pg_class where relname = %s", (index,)
        ).fetchone()
        assert found is not None, index
        assert f"({columns})" in found[0].replace('"', ""), index


@pytest.mark.parametrize("name", with_an_index())
def test_each_named_index_is_usable(name: str, conn: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Sequential scans are discouraged: it proves that the index can serve, no more."""
    plan = "\n".join(
        plan_of(conn, name, discouraged=True, **filters) for filters in FILTERS.get(name, [{}])
    )
    indexes = named(FILES[name].read_text(encoding="utf-8"))

    assert indexes
    assert [index for index in indexes if index not in plan] == [], plan


@pytest.mark.parametrize("name", sorted(HOT))
def test_the_hot_path_never_scans_a_table_it_grows(
    name: str, relay_conn: psycopg.Connection[tuple[Any, ...]]
) -> None:
    """As a relay's session plans it: no table is read whole, and few pages are touched."""
    plan = plan_of(relay_conn, name, discouraged=False)
    touched = pages_touched(relay_conn, name)

    assert not re.search(r"Seq Scan on (delivery|message|receipt|dead_letter|saga)\b", plan), plan
    assert touched <= PAGES_MAX.get(name, PAGES_MAX_OTHERS), plan


@pytest.mark.parametrize("name", ["claim", "claim_held", "claim_ranked", "lock_keys"])
def test_the_plan_of_a_claim_is_kept(
    name: str, relay_conn: psycopg.Connection[tuple[Any, ...]]
) -> None:
    """A server plans the first five for what they ask, and then all alike if that is no dearer.

    Making the plan takes longer than a small claim.
    """
    body = re.sub(r"(?m)^--.*\n", "", FILES[name].read_text(encoding="utf-8"))
    with relay_conn.transaction(force_rollback=True):
        for _ in range(8):
            relay_conn.execute(body, VALUES, prepare=True)
        cursor = relay_conn.execute(
            "select custom_plans, generic_plans from pg_prepared_statements"
            " where starts_with(statement, %s)",
            [body.partition("%")[0]],
        )
        planned = cursor.fetchall()

    assert planned == [(5, 3)]
