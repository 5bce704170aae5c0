"""What pruning costs, and what a message table in partitions would cost its publishers.

`python -m bench.try_retention [--messages N]` starts a server of its own and prints both.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from datetime import timedelta

import psycopg

from outbox import Retention, migrations
from outbox.embedded import EmbeddedServer
from outbox.retention import prune

FILL = """
with stored as (
    insert into outbox.message (topic, version, payload, created_at)
    select 't.one', 1, jsonb_build_object('x', repeat('y', 200)), now() - interval '60 days'
    from generate_series(1, %s)
    returning id, created_at
)
insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, settled_at)
select id, id, 'mailer', 1, 'done', created_at from stored
"""
WAL = "select (pg_current_wal_insert_lsn() - '0/0')::bigint"

# The same rows as one table, and as one partition a day with the foreign key that it then needs.
BOTH = """
create table whole (
    id bigint primary key, created_at timestamptz not null default now(), payload jsonb not null
);
create table whole_delivery (
    id bigint generated always as identity primary key,
    message_id bigint not null references whole (id), handler text not null
);
create index on whole_delivery (message_id);
create table parts (
    id bigint not null, created_at timestamptz not null default now(), payload jsonb not null,
    primary key (id, created_at)
) partition by range (created_at);
create table parts_delivery (
    id bigint generated always as identity primary key, message_id bigint not null,
    message_at timestamptz not null, handler text not null,
    foreign key (message_id, message_at) references parts (id, created_at)
);
create index on parts_delivery (message_id, message_at);
do $$
begin
    for day in -5..35 loop
        execute format('create table parts_%s partition of parts for values from (%L) to (%L)',
            day + 5, current_date + day, current_date + day + 1);
    end loop;
end
$$;
"""
WHOLE = """
with m as (
    insert into whole (id, payload)
    select n, jsonb_build_object('x', repeat('y', 200))
    from generate_series(%s::bigint, %s::bigint) as n
    returning id
)
insert into whole_delivery (message_id, handler) select id, 'mailer' from m
"""
PARTS = """
with m as (
    insert into parts (id, payload)
    select n, jsonb_build_object('x', repeat('y', 200))
    from generate_series(%s::bigint, %s::bigint) as n
    returning id, created_at
)
insert into parts_delivery (message_id, message_at, handler) select id, created_at, 'mailer' from m
"""


async def pruning(dsn: str, messages: int) -> str:
    """Prune that many messages and their receipts without a rest."""
    longest = 0.0

    async def on(took: float) -> bool:
        nonlocal longest
        longest = max(longest, took)
        return True

    async def wal(conn: psycopg.AsyncConnection[tuple[int]]) -> int:
        row = await (await conn.execute(WAL)).fetchone()
        return 0 if row is None else row[0]

    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute(FILL, [messages])
        await conn.execute("vacuum analyze")
        before, began = await wal(conn), time.perf_counter()
        day = timedelta(days=1)
        gone = sum((await prune(conn, Retention(day, day), now=None, rest=on)).values())
        took, written = time.perf_counter() - began, await wal(conn) - before
    return (
        f"{gone} rows pruned, {gone / took:,.0f}/s, {written / gone:.0f} bytes of WAL each, "
        f"longest statement {1000 * longest:.0f} ms"
    )


def publishing(dsn: str, messages: int) -> str:
    """Rows a second into one table and into partitions, a thousand a statement, in turns."""
    rates: dict[bytes, list[float]] = {WHOLE.encode(): [], PARTS.encode(): []}
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(BOTH.encode())
        for turn in range(3):
            for statement, found in rates.items():
                began = time.perf_counter()
                for first in range(turn * messages, (turn + 1) * messages, 1_000):
                    conn.execute(statement, [first, first + 999])
                found.append(messages / (time.perf_counter() - began))
    whole, parts = (sorted(found)[1] for found in rates.values())
    return f"one table {whole:,.0f} messages/s, partitions {parts:,.0f}/s, {parts / whole:.2f}"


def main() -> None:
    """Measure both on one server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000)
    messages = parser.parse_args().messages
    with EmbeddedServer.start(durable=True) as server:
        dsn = server.dsn()
        migrations.upgrade(dsn)
        print(asyncio.run(pruning(dsn, messages)))
        print(publishing(dsn, messages // 2))


if __name__ == "__main__":
    main()
