"""What has ended goes when its time is over; what anything points to stays (P2)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outbox import Dead, Done, Effect, Order, Retention, Unknown, queries_retention
from outbox.errors import ConfigurationError
from outbox.retention import prune
from tests.outbox.shop import MINUTE, OrderPlaced, Unheard, mailer

if TYPE_CHECKING:
    from collections import Counter

    from outbox.testing import OutboxHarness
    from tests.outbox.conftest import Opened, Rows

DAY = timedelta(days=1)
TERMS = Retention(messages=7 * DAY, receipts=20 * DAY, sagas=30 * DAY)


async def pruned(box: OutboxHarness, **terms: Any) -> Counter[str]:
    async def on(took: float) -> bool:
        del took
        return True

    async with box.relay.pool.connection() as conn:
        return await prune(conn, TERMS, now=box.clock.sql_now(), rest=on, **terms)


async def one_done(box: OutboxHarness, number: int = 1, **terms: Any) -> None:
    await box.publish(OrderPlaced(order_id=number), **terms)
    await box.settle(await box.claim_one(), Done())


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"messages": timedelta(0)}, "messages is 0:00:00, it must be above zero"),
        ({"messages": 9 * DAY, "receipts": DAY}, "receipts are kept for 1 day, 0:00:00 and mess"),
        ({"sagas": -DAY}, "sagas is -1 day, 0:00:00, it must be above zero"),
        ({"receipts": 90}, r"receipts is 90 \(int\), it must be a timedelta"),
    ],
)
def test_terms_that_contradict_each_other_are_refused(terms: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=f"retention: {says}"):
        Retention(**terms)


async def test_a_message_goes_after_its_time_and_its_receipts_after_theirs(
    opened: Opened, rows: Rows
) -> None:
    box = await opened(mailer())
    await one_done(box)
    box.advance(6 * DAY)
    early = await pruned(box)
    box.advance(2 * DAY)
    await one_done(box, 2)
    after_a_week = await pruned(box)
    left = rows("select payload ->> 'order_id' from outbox.message")
    box.advance(13 * DAY)
    after_three = await pruned(box)

    assert not any(early.values())
    assert (after_a_week["messages"], after_a_week["receipts"]) == (1, 0)
    assert left == [("2",)]
    assert (after_three["messages"], after_three["receipts"]) == (1, 1)
    assert rows("select count(*) from outbox.receipt") == [(1,)]


async def test_what_is_still_pointed_to_stays(opened: Opened, rows: Rows) -> None:
    """A delivery that waits, one due in a year, a dead letter, a message nobody takes."""
    box = await opened(mailer())
    await box.publish(OrderPlaced(order_id=1))
    await box.settle(await box.claim_one(), Dead("refused"))
    await one_done(box, 4)
    await box.publish(OrderPlaced(order_id=2))
    await box.publish(OrderPlaced(order_id=3), due_at=box.clock.now() + 365 * DAY)
    await box.publish(Unheard())
    box.advance(100 * DAY)
    gone = await pruned(box)

    assert gone["messages"] == 1
    assert rows("select topic, count(*) from outbox.message group by 1 order by 1") == [
        ("order.placed", 3),
        ("tree.fallen", 1),
    ]


@pytest.mark.parametrize("table", ["delivery", "dead_letter", "unrouted"])
async def test_the_database_refuses_to_lose_a_message_that_is_waited_for(
    table: str, opened: Opened, rows: Rows
) -> None:
    """The guard of P2 under pruning: whatever the statement believes."""
    box = await opened(mailer())
    if table == "unrouted":
        await box.publish(Unheard())
    else:
        await box.publish(OrderPlaced(order_id=1))
    if table == "dead_letter":
        await box.settle(await box.claim_one(), Dead("refused"))

    with pytest.raises(psycopg.errors.ForeignKeyViolation) as refused:
        rows("delete from outbox.message")

    guard = "message_waited_for" if table == "delivery" else f"{table}_message_fk"
    assert refused.value.diag.constraint_name == guard
    assert rows("select count(*) from outbox.message") == [(1,)]


async def test_messages_are_deleted_in_sight_of_what_is_committed(
    opened: Opened, database: str
) -> None:
    """An older snapshot would not show a delivery that somebody has made since: P2."""
    await opened(mailer())
    with psycopg.connect(database) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with pytest.raises(psycopg.errors.ActiveSqlTransaction, match="read committed"):
            conn.execute("delete from outbox.message")


async def test_a_dedup_key_goes_when_nobody_can_be_asking_for_it(
    opened: Opened, rows: Rows
) -> None:
    box = await opened(mailer())
    await one_done(box, dedup_key="k")
    box.advance(DAY + MINUTE)
    within_the_hour = await pruned(box)
    box.advance(timedelta(hours=1))

    assert within_the_hour["dedup_keys"] == 0
    assert (await pruned(box))["dedup_keys"] == 1
    assert rows("select count(*) from outbox.dedup") == [(0,)]


async def test_an_ended_instance_goes_with_its_timeline(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer())
    rows(
        "insert into outbox.saga (name, key, state, state_version, version, started_at,"
        " changed_at, ended_at) select 'watch', 'k' || n, '{}', 1, 1, now(), now(),"
        " case when n < 3 then now() end from generate_series(1, 4) as n"
    )
    rows(
        "insert into outbox.saga_transition (saga_id, version, message_id, topic, change, at)"
        " select id, 2, 1, 't', '{}', now() from outbox.saga"
    )
    box.advance(31 * DAY)

    assert (await pruned(box))["sagas"] == 2
    assert rows("select count(*) from outbox.saga_transition") == [(2,)]


async def test_leases_of_a_handler_nobody_runs_any_more_are_forgotten(
    opened: Opened, rows: Rows
) -> None:
    """One with a delivery under it stays: through it that delivery is found."""
    box = await opened(mailer())
    await box.publish(OrderPlaced(order_id=1))
    await box.claim_one()
    rows(
        "insert into outbox.lease values"
        " (gen_random_uuid(), 'gone', 'r', now(), '{1}', null, null),"
        " (gen_random_uuid(), 'gone', 'r', now(), '{1}', 1, 1)"
    )
    rows("insert into outbox.key_lease values ('gone', 'a', gen_random_uuid(), now())")
    box.advance(2 * DAY)

    assert (await pruned(box))["leases"] == 2
    assert rows("select handler, first_id from outbox.lease order by 1") == [
        ("gone", 1),
        ("mailer", None),
    ]


async def test_what_died_and_what_is_asked_no_more_leaves_nothing_for_ever(
    opened: Opened, rows: Rows
) -> None:
    """A worker that is killed says no farewell; a late answer ends what nobody asks about."""
    box = await opened(mailer(effect=Effect.AMBIGUOUS))
    await box.publish(OrderPlaced(order_id=1))
    await box.settle(await box.claim_one(), Unknown("timeout"))
    rows(
        "insert into outbox.worker (id, handler, queue, reads, ticket_max, slots, started_at,"
        " seen_at) select id, 'mailer', 'queue', '{}', 1, 1, seen_at, seen_at from (values"
        " ('killed', now() - interval '25 hours'), ('alive', now())) as w(id, seen_at)"
    )
    rows(
        "insert into outbox.question (delivery_id, handler, call_token, due_at)"
        " select id, 'mailer', lease_token, null::timestamptz from outbox.delivery"
        " union all select 0, 'mailer', gen_random_uuid(), null"
    )

    assert (await pruned(box))["leases"] == 2
    assert rows("select id from outbox.worker") == [("alive",)]
    assert rows("select delivery_id > 0 from outbox.question") == [(True,)]


async def test_a_dry_run_counts_and_keeps(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer())
    await one_done(box)
    box.advance(8 * DAY)

    assert (await pruned(box, dry_run=True))["messages"] == 1
    assert rows("select count(*) from outbox.message") == [(1,)]


async def test_only_one_process_prunes_at_a_time(opened: Opened, database: str) -> None:
    box = await opened(mailer())
    await one_done(box)
    box.advance(8 * DAY)
    async with await psycopg.AsyncConnection.connect(database) as other:
        assert await queries_retention.take_prune_turn(other)

        assert not any((await pruned(box)).values())

    assert (await pruned(box))["messages"] == 1


async def test_pruning_waits_for_no_row_that_somebody_holds(opened: Opened, database: str) -> None:
    """Publishers of a saga's outputs, or a backfill, may hold a message: it is passed by."""
    box = await opened(mailer())
    for number in (1, 2):
        await one_done(box, number)
    box.advance(8 * DAY)
    async with await psycopg.AsyncConnection.connect(database) as other:
        await other.execute(
            "select id from outbox.message where payload ->> 'order_id' = '1' for key share"
        )

        assert (await pruned(box))["messages"] == 1

    assert (await pruned(box))["messages"] == 1


async def test_a_kind_that_is_locked_keeps_no_other_from_going(
    opened: Opened, database: str
) -> None:
    """As while somebody alters a table: it waits a second, and the rest goes all the same."""
    box = await opened(mailer())
    await box.publish(OrderPlaced(order_id=1), dedup_key="once")
    await box.settle(await box.claim_one(), Done())
    box.advance(8 * DAY)
    async with await psycopg.AsyncConnection.connect(database) as other:
        await other.execute("lock table outbox.message in access exclusive mode")

        gone = await pruned(box)

    assert (gone["messages"], gone["dedup_keys"]) == (0, 1)
    assert (await pruned(box))["messages"] == 1


async def test_each_statement_looks_at_a_bounded_number_of_rows(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stays at the head of the table does not keep the rest from going."""
    monkeypatch.setattr("outbox.retention.WINDOW", 2)
    box = await opened(mailer())
    for number in range(3):
        await box.publish(OrderPlaced(order_id=number), due_at=box.clock.now() + 99 * DAY)
    for number in range(5):
        await one_done(box, number)
    box.advance(8 * DAY)

    assert (await pruned(box))["messages"] == 5


async def test_what_was_newest_is_remembered_as_long_as_an_older_one_can_come(
    opened: Opened, rows: Rows
) -> None:
    box = await opened(mailer(order=Order.NEWEST))
    for number, outcome in ((1, Dead("refused")), (2, Done())):
        await box.publish(OrderPlaced(order_id=number), key="a")
        await box.settle(await box.claim_one(), outcome)
    box.advance(8 * DAY)
    await pruned(box)
    kept = rows("select count(*) from outbox.newest")
    rows("delete from outbox.dead_letter")
    await pruned(box)

    assert kept == [(1,)]
    assert rows("select count(*) from outbox.newest") == [(0,)]
