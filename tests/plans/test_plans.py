"""Each statement's `index:` header is held to what EXPLAIN says on a seeded, analysed database.

Twice: with sequential scans discouraged, each named index must be usable by its statement; and the
statements of the hot path must choose an index of their own accord, with nothing discouraged.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest

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
INSIDE_A_FUNCTION = {"publish_messages", "publish_addressed"}
# An insert touches every index of its table; none of them decides how it runs.
INSERTS_ONLY = {"append_transition"}
HOT = {
    "claim", "claim_keyed", "claim_lone", "has_suspect", "lock_newest", "lease_ids", "mark_begun",
    "give_back", "settle_final", "settle_retry", "settle_dead", "settle_unknown", "expire_begun",
    "bury_poisoned", "supersede_overtaken", "withdraw_deliveries", "list_receipts", "lock_saga",
}  # fmt: skip

# Filters that are left out are null; each way of asking has its index.
FILTERS: dict[str, list[dict[str, Any]]] = {
    name: [{"handler": None, "key": None}, {"delivery_ids": None}]
    for name in ("count_dead", "redrive_dead")
}
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
    "actor": "somebody",
    "version": 1,
    "topics": ["t.one"],
    "state_version": 1,
    "state": "{}",
    "probe_after": timedelta(seconds=30),
    "keys": ["key:1", "key:2", "key:7"],
    "keyless": False,
    "why": "",
    "waits": [timedelta(0)] * 3,
    "versions": [1],
    "timers": "{}",
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
    "asleep": True,
    "sequences": None,
    "priorities": None,
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
insert into outbox.dead_letter (
    delivery_id, message_id, handler, key, position, attempts, reason, died_at
)
select id, id, 'handler:' || id % 50, key, id, 1, 'refused', now()
from outbox.message where id <= 3000;
insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, settled_at)
select id, id, 'mailer', 1, 'done', now() from outbox.message;
insert into outbox.unrouted (message_id, topic)
select id, 'u.' || id % 50 from outbox.message where id <= 3000;
insert into outbox.route (topic, handler)
select 't.' || n, 'mailer' from generate_series(1, 500) as n;
insert into outbox.route (topic, handler) values ('u.7', 'mailer');
insert into outbox.destination (handler) select 'handler:' || n from generate_series(1, 500) as n;
insert into outbox.destination (handler) values ('mailer'), ('ledger');
insert into outbox.relay
select 'relay:' || n, now(), now(), '{}', null from generate_series(1, 500) as n;
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
    name: str, conn: psycopg.Connection[tuple[Any, ...]]
) -> None:
    """Nothing is discouraged: on a few thousand rows the planner takes the index by itself."""
    plan = plan_of(conn, name, discouraged=False)

    assert not re.search(r"Seq Scan on (delivery|message|receipt|dead_letter|saga)\b", plan), plan
