"""What the engine has promised, asked of a database when faults have stopped and all is drained.

Each question names what breaks it by delivery id; no answer is a promise kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg

SHOWN_MAX = 20
"""How many delivery ids a line names."""

# A promise, and the deliveries that break it. `database` and `keyed` are names of handlers.
BROKEN = {
    "P2 nothing is lost: a delivery is neither done nor dead nor known as unknown": """
        select m.id from outbox.message m join outbox.route r on r.topic = m.topic
        where not exists (
            select from outbox.receipt p where p.message_id = m.id and p.handler = r.handler
            and p.outcome in ('done', 'suppressed', 'superseded', 'dead', 'unknown'))
        """,
    "P2 nothing is left: a delivery still waits or is leased": """
        select id from outbox.delivery where unknown_at is null""",
    "P3 fenced: a delivery was settled for good more than once": """
        select delivery_id from outbox.receipt
        where outcome in ('done', 'suppressed', 'superseded', 'dead')
        group by delivery_id having count(*) > 1""",
    "P3 receipts agree: settled for good and still there": """
        select d.id from outbox.delivery d join outbox.receipt p on p.delivery_id = d.id
        where p.outcome in ('done', 'suppressed', 'superseded', 'dead')""",
    "P4 once: done without its database effect": """
        select delivery_id from outbox.receipt p where outcome = 'done'
        and handler = any(%(database)s)
        and not exists (select from effect e where e.delivery_id = p.delivery_id)""",
    "P4 once: a database effect happened twice": """
        select delivery_id from effect group by delivery_id having count(*) > 1""",
    "P4 once: a database effect without a settlement": """
        select delivery_id from effect e where not exists (
            select from outbox.receipt p
            where p.delivery_id = e.delivery_id and p.outcome = 'done')""",
    "P5 order: an effect of a key came before one that was published earlier": """
        select delivery_id from (
            select delivery_id, position,
                lag(position) over (partition by handler, key order by id) as before
            from effect where handler = any(%(keyed)s)) as e
        where before > position""",
}


def broken_promises(
    conn: psycopg.Connection[Any],
    *,
    database: list[str],
    ambiguous: list[str],
    keyed: list[str],
    arrived: Mapping[str, Mapping[int, int]],
) -> list[str]:
    """A line for each promise that does not hold. `arrived`: calls outside, by handler and id."""
    params = {"database": database, "keyed": keyed}
    found = [
        line_of(promise, [row[0] for row in conn.execute(question, params)])
        for promise, question in BROKEN.items()
    ]
    for handler in arrived:
        found += _outside(conn, handler, arrived[handler], ambiguous=handler in ambiguous)
    return [line for line in found if line]


def _outside(
    conn: psycopg.Connection[Any], handler: str, calls: Mapping[int, int], *, ambiguous: bool
) -> Iterator[str]:
    """Calls against receipts: an unknown may or may not have arrived, all else is plain."""
    rows = conn.execute(
        "select delivery_id, bool_or(outcome = 'done'), bool_or(outcome = 'unknown')"
        " from outbox.receipt where handler = %s group by 1",
        (handler,),
    ).fetchall()
    done = {one for one, was_done, _ in rows if was_done}
    told = done | {one for one, _, unknown in rows if unknown}
    yield line_of(f"P4 {handler}: done and never called", sorted(done - set(calls)))
    if ambiguous:
        twice = sorted(one for one, times in calls.items() if times > 1)
        yield line_of(f"P4 {handler}: an ambiguous call was sent twice", twice)
        yield line_of(f"P4 {handler}: called, and nobody says so", sorted(set(calls) - told))


def line_of(promise: str, ids: list[int]) -> str:
    """The promise and who breaks it; empty when nobody does."""
    if not ids:
        return ""
    more = f" and {len(ids) - SHOWN_MAX} more" if len(ids) > SHOWN_MAX else ""
    return f"{promise}: {', '.join(map(str, ids[:SHOWN_MAX]))}{more}"
