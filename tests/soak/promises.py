"""What publishers and keys are promised, asked after a soak; and what there was to ask about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.crash.promises import line_of
from tests.soak.application import PLAIN

if TYPE_CHECKING:
    import psycopg

ALWAYS = "(m.topic = 'soak.fatal' and (m.payload ->> 'always')::boolean)"
BROKEN = {
    "P1 atomic: a sale was committed without its messages": f"""
        select number from sale where {PLAIN + 1} <> (
            select count(*) from outbox.message m where m.topic in ('soak.moved', 'soak.sold')
            and (m.payload ->> 'number')::bigint = sale.number)""",
    "P1 atomic: a message was committed without its sale": """
        select m.id from outbox.message m where m.topic in ('soak.moved', 'soak.sold')
        and not exists (select from sale where number = (m.payload ->> 'number')::bigint)""",
    "P5 newest only: the newest of a key was not delivered": """
        select n.id from (
            select distinct on (key) id, key from outbox.message where topic = 'soak.moved'
            order by key, sequence desc) as n
        where not exists (select from outbox.receipt p where p.message_id = n.id
            and p.handler = 'shown' and p.outcome = 'done')""",
    "P6 dedup: a dedup key was published twice": """
        select max(id) from outbox.message where topic = 'soak.contested'
        group by payload ->> 'number' having count(*) > 1""",
    "P7 retries: a delivery was given up that was only slow or unlucky": """
        select delivery_id from outbox.dead_letter where reason <> 'poison'""",
    "P2 poison: what kills every process that tries it was not given up": f"""
        select m.id from outbox.message m where {ALWAYS} and not exists (
            select from outbox.dead_letter l where l.message_id = m.id and l.reason = 'poison')""",
    "P2 poison: what kills nobody, or nobody who is alone, was given up": f"""
        select l.delivery_id from outbox.dead_letter l
        join outbox.message m on m.id = l.message_id where not {ALWAYS}""",
}
COUNTS = """
select (select count(*) from outbox.message m join outbox.route r on r.topic = m.topic),
    (select count(distinct delivery_id) from outbox.receipt where outcome = 'done'),
    (select count(*) from outbox.receipt where outcome = 'superseded'),
    (select count(*) from outbox.delivery where unknown_at is not null),
    (select count(*) from outbox.dead_letter),
    (select count(*) from outbox.message m where m.topic = 'soak.fatal'),
    (select count(*) from outbox.receipt where outcome = 'retry'),
    (select deadlocks from pg_stat_database where datname = current_database())
"""
WORDS = ("deliveries", "done", "superseded", "unknown", "dead", "fatal", "retries", "deadlocks")
INDEX = "create index on outbox.message (((payload ->> 'number')::bigint))"


def of_the_publishers(conn: psycopg.Connection[Any]) -> list[str]:
    """A line for each promise that does not hold."""
    conn.execute(INDEX)
    found = [
        line_of(promise, [row[0] for row in conn.execute(question)])
        for promise, question in BROKEN.items()
    ]
    return [line for line in found if line]


def counts_of(conn: psycopg.Connection[Any]) -> dict[str, int]:
    """How many deliveries there were, and how they ended."""
    row = conn.execute(COUNTS).fetchone()
    assert row is not None, "counts are one row"
    return dict(zip(WORDS, row, strict=True))
