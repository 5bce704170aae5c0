"""What the engine has promised, asked of a database when faults have stopped and all is drained.

Each question names what breaks it by delivery id; no answer is a promise kept.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import psycopg

SHOWN_MAX = 20
"""How many delivery ids a line names."""

LEFT = """outbox.delivery d where d.unknown_at is null and not exists (
    select from outbox.delivery u where u.handler = d.handler and u.key = d.key
    and u.unknown_at is not null and (u.position, u.id) < (d.position, d.id))
"""
"""What still waits or is leased, but for what is behind an unknown delivery of its key."""

# A promise, and the deliveries that break it. `database`, `keyed`, `newest`: names of handlers.
# What is behind an unknown delivery of its key waits for a person's word, and is not lost.
BROKEN = {
    "P2 nothing is lost: a delivery is neither done nor dead nor known as unknown": """
        select m.id from outbox.message m join outbox.route r on r.topic = m.topic
        where not exists (
            select from outbox.receipt p where p.message_id = m.id and p.handler = r.handler
            and p.outcome in ('done', 'suppressed', 'superseded', 'dead', 'unknown'))
        and not exists (select from outbox.delivery d where d.message_id = m.id
            and d.handler = r.handler)
        """,
    "P2 nothing is left: a delivery still waits or is leased": f"""
        select d.id from {LEFT}""",
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
    "P5 newest only: the newest of a key was not delivered": """
        select n.id from (
            select distinct on (p.handler, m.key) m.id, p.handler
            from outbox.receipt p join outbox.message m on m.id = p.message_id
            where p.handler = any(%(newest)s)
            order by p.handler, m.key, coalesce(m.sequence, m.id) desc) as n
        where not exists (select from outbox.receipt p where p.message_id = n.id
            and p.handler = n.handler and p.outcome = 'done')""",
}
PLACES = """
select distinct p.delivery_id, m.key, coalesce(m.sequence, m.id)
from outbox.receipt p join outbox.message m on m.id = p.message_id
where p.handler = %s and m.key is not null
"""


def broken_promises(
    conn: psycopg.Connection[Any],
    *,
    database: list[str],
    ambiguous: list[str],
    keyed: list[str],
    arrived: Mapping[str, Mapping[int, int]],
    newest: Sequence[str] = (),
    came: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> list[str]:
    """A line for each promise that does not hold.

    `arrived`: calls outside, by handler and delivery; `came`: of ordered handlers, in their order.
    """
    params = {"database": database, "keyed": keyed, "newest": list(newest)}
    found = [
        line_of(promise, [row[0] for row in conn.execute(question, params)])
        for promise, question in BROKEN.items()
    ]
    for handler in arrived:
        found += _outside(conn, handler, arrived[handler], ambiguous=handler in ambiguous)
    found += [_out_of_order(conn, handler, calls) for handler, calls in came.items()]
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


def _out_of_order(conn: psycopg.Connection[Any], handler: str, calls: Sequence[int]) -> str:
    """Deliveries whose last call came after a later one's: what was repeated repeats in order."""
    places = {row[0]: (row[1], row[2]) for row in conn.execute(PLACES, (handler,))}
    later: dict[str, int] = {}
    late: list[int] = []
    for one in dict.fromkeys(reversed(calls)):  # by their last calls, the latest first
        if one not in places:  # called, and nobody says so: P4 tells of it
            continue
        key, place = places[one]
        if place > later.get(key, place):
            late.append(one)
        later[key] = min(place, later.get(key, place))
    return line_of(f"P5 {handler}: called for the last time before an earlier one of its key", late)


def line_of(promise: str, ids: list[int]) -> str:
    """The promise and who breaks it; empty when nobody does."""
    if not ids:
        return ""
    more = f" and {len(ids) - SHOWN_MAX} more" if len(ids) > SHOWN_MAX else ""
    return f"{promise}: {', '.join(map(str, ids[:SHOWN_MAX]))}{more}"
