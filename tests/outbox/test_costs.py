"""What a delivery costs, told by the server's own statistics: rows, commits and bytes of WAL.

Time is noisy and no test asserts it; these counts are what makes it, and they do not move by
themselves. A bound that breaks is a change somebody must have wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest
from psycopg.rows import dict_row

from outbox import Effect, Publication, Relay, publish_many
from tests.outbox.shop import OrderPlaced, made, mailer, nothing

if TYPE_CHECKING:
    from outbox import Attempt, Outcome
    from tests.conftest import Server

COUNT, BATCH = 4_000, 500

ROWS = """
select relname as name, n_tup_ins as inserted, n_tup_upd as updated, n_tup_hot_upd as hot,
    n_tup_del as deleted
from pg_stat_user_tables where schemaname = 'outbox'
"""
OTHERS = """
select 1 from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""
COMMITS = "select xact_commit from pg_stat_database where datname = current_database()"


class Rows(NamedTuple):
    """Rows of one table that were written; `hot` of the updates left every index alone."""

    inserted: int
    updated: int
    hot: int
    deleted: int


class Cost(NamedTuple):
    """What draining `COUNT` deliveries did: rows by table, commits, bytes of WAL."""

    rows: dict[str, Rows]
    commits: int
    wal_bytes: int


async def inside(message: OrderPlaced, attempt: Attempt, conn: Any) -> Outcome:
    """A DATABASE handler that writes nothing of its own."""
    del conn
    return await nothing(message, attempt)


async def drained(server: Server, effect: Effect) -> Cost:
    """Drain a backlog with one relay and read the difference."""
    call = inside if effect is Effect.DATABASE else nothing
    handler = mailer(call, effect=effect, batch_max=BATCH, concurrency=BATCH)
    with server.fresh(migrated=True) as dsn:
        relay = Relay(made(handler), dsn)
        async with relay.opened():
            with psycopg.connect(dsn) as conn:
                many = [Publication(message=OrderPlaced(order_id=n)) for n in range(COUNT)]
                publish_many(conn, many)
            before = _statistics(dsn)
            await relay.drain()
        return _between(before, _statistics(dsn, alone=True))


def _statistics(dsn: str, *, alone: bool = False) -> Cost:
    """A session's counts are in the server's when it has ended, which is after it was closed."""
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as conn:
        while alone and conn.execute(OTHERS).fetchone() is not None:
            pass
        conn.execute("select pg_stat_force_next_flush()")
        wal = conn.execute("select pg_current_wal_insert_lsn() - '0/0' as bytes").fetchone()
        commits = conn.execute(COMMITS).fetchone()
        rows = {row["name"]: Rows(*list(row.values())[1:]) for row in conn.execute(ROWS)}
    assert wal is not None
    assert commits is not None
    return Cost(rows, commits["xact_commit"], int(wal["bytes"]))


def _between(before: Cost, after: Cost) -> Cost:
    rows = {
        name: Rows(*(new - old for new, old in zip(row, before.rows[name], strict=True)))
        for name, row in after.rows.items()
    }
    return Cost(rows, after.commits - before.commits, after.wal_bytes - before.wal_bytes)


@pytest.mark.parametrize("effect", list(Effect))
async def test_a_delivery_writes_its_receipt_and_little_else(
    server: Server, effect: Effect
) -> None:
    """One receipt and one removal; a lease touches the row alone, or, in a backlog, not at all."""
    cost = await drained(server, effect)
    delivery, lease = cost.rows["delivery"], cost.rows["lease"]
    updates = {Effect.DATABASE: BATCH, Effect.IDEMPOTENT: COUNT, Effect.AMBIGUOUS: 2 * COUNT}

    assert (delivery.inserted, delivery.deleted) == (0, COUNT)
    assert cost.rows["receipt"].inserted == COUNT
    assert delivery.updated == updates[effect]
    assert delivery.hot >= 0.8 * delivery.updated  # else each update writes every index again
    assert lease.inserted <= 2 * COUNT / BATCH
    assert lease.deleted == lease.inserted
    assert cost.rows["destination"].updated == cost.rows["destination_failure"].inserted == 0
    assert cost.rows["message"].updated == cost.rows["message"].inserted == 0


@pytest.mark.parametrize("effect", list(Effect))
async def test_commits_are_counted_by_the_batch(server: Server, effect: Effect) -> None:
    """Claim, note or mark, and settlement of a batch; the rest is the relay's own housekeeping."""
    cost = await drained(server, effect)

    assert cost.commits <= 5 * COUNT / BATCH + 40


@pytest.mark.parametrize(
    ("effect", "bytes_max"),
    [(Effect.DATABASE, 600), (Effect.IDEMPOTENT, 850), (Effect.AMBIGUOUS, 1_100)],
)
async def test_a_delivery_costs_a_bounded_amount_of_wal(
    server: Server, effect: Effect, bytes_max: int
) -> None:
    """Half a kilobyte of log is what a receipt, a removal and a lease take."""
    cost = await drained(server, effect)

    assert cost.wal_bytes / COUNT <= bytes_max
