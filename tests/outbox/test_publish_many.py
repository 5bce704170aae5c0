"""Many at once: batches of mixed messages and terms answer as one message after another would."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from outbox import Message, Publication, PublishReceipt, publish, publish_many
from outbox.publication import BATCH_CHARS_MAX, BATCH_ROWS_MAX, batches_of
from tests.outbox.doors import KINDS, many_of, opened
from tests.outbox.shop import OrderPlaced, StockChanged, Unheard

if TYPE_CHECKING:
    from tests.outbox.conftest import Rows

NEXT_WEEK = datetime.now(UTC).replace(microsecond=0) + timedelta(days=7)
COLUMNS = """
    select m.topic, m.version, m.payload, m.headers, m.key, m.sequence, m.correlation_id,
        m.causation_id, d.handler, d.key, d.position - coalesce(m.sequence, m.id), d.priority,
        d.due_at, d.attempts, u.due_at, u.priority
    from outbox.message m left join outbox.delivery d on d.message_id = m.id
    left join outbox.unrouted u on u.message_id = m.id
    order by m.id, d.handler
"""


class StockChangedAgain(Message, topic="stock.changed", version=2, dedup_window=timedelta(days=2)):
    """A newer version on a topic that has one, with a window."""

    shelf: str


def mixed() -> list[Publication]:
    """Each term, alone and together, on topics with two handlers, one and none."""
    order, stock = OrderPlaced(order_id=1), StockChanged(shelf="Ä'\"\\\n,{}", count=3)
    return [
        Publication(message=order),
        Publication(message=stock, key="Ä'\"\\\n,{}", sequence=2**63 - 1, priority=-100),
        Publication(message=Unheard(), due_at=NEXT_WEEK, priority=7),
        Publication(message=StockChangedAgain(shelf="b"), key="null", correlation_id="saga:1"),
        Publication(message=order, sequence=-5, key="customer:1"),
        Publication(message=stock, due_at=NEXT_WEEK),
        Publication(message=order, priority=100),
    ]


@pytest.fixture(autouse=True)
def routes(rows: Rows) -> None:
    """Orders go to two handlers, one of them ordered; stock goes to one."""
    rows(
        "insert into outbox.route (topic, handler, ordered)"
        " values ('order.placed', 'mailer', false), ('order.placed', 'ledger', true),"
        " ('stock.changed', 'shelf', true)"
    )


PLAIN = [OrderPlaced(order_id=1), StockChangedAgain(shelf="Ä'\"\\\n,{}"), Unheard()]


@pytest.mark.parametrize(
    ("publications", "deliveries"),
    [(mixed(), [2, 1, 0, 1, 2, 1, 2])]
    + [
        ([Publication(message=message)] * 3, [count] * 3)
        for message, count in zip(PLAIN, [2, 1, 0], strict=True)
    ],
    ids=["mixed", "plain, two handlers", "plain, one handler", "plain, no handler"],
)
def test_a_batch_stores_what_one_after_another_stores(
    publications: list[Publication], deliveries: list[int], database: str, rows: Rows
) -> None:
    """Mixed, and of one class without terms, which goes by a shorter way."""
    with psycopg.connect(database) as conn:
        receipts = publish_many(conn, publications)
    together = rows(COLUMNS)
    rows("truncate outbox.message cascade")
    with psycopg.connect(database) as conn:
        for one in publications:
            publish(
                conn, one.message, key=one.key, sequence=one.sequence, due_at=one.due_at,
                priority=one.priority, correlation_id=one.correlation_id,
            )  # fmt: skip

    assert together == rows(COLUMNS)
    assert [receipt.deliveries for receipt in receipts] == deliveries
    ids = [receipt.message_id for receipt in receipts]
    assert ids == sorted(ids)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_door_takes_many(kind: str, database: str, rows: Rows) -> None:
    async with opened(kind, database) as door:
        receipts = await many_of(door, mixed())
        await door.commit()

    stored = rows("select id from outbox.message order by id")
    assert [(receipt.message_id,) for receipt in receipts] == stored


def test_one_dedup_key_among_many_decides_only_for_its_own(database: str, rows: Rows) -> None:
    first = [*mixed(), Publication(message=StockChangedAgain(shelf="b"), dedup_key="k", key="x")]
    with psycopg.connect(database) as conn:
        won = publish_many(conn, first)[-1]
        again = publish_many(conn, first)

    assert not won.duplicate
    assert again[-1] == PublishReceipt(won.message_id, duplicate=True, deliveries=0)
    assert [receipt.deliveries for receipt in again] == [2, 1, 0, 1, 2, 1, 2, 0]
    assert not any(receipt.duplicate for receipt in again[:-1])
    window = (
        "select expires_at - created_at from outbox.dedup join outbox.message on id = message_id"
    )
    assert rows(window) == [(timedelta(days=2),)]


def test_a_single_message_keeps_the_window_of_its_class(database: str, rows: Rows) -> None:
    with psycopg.connect(database) as conn:
        publish(conn, StockChangedAgain(shelf="b"), dedup_key="k")

    window = (
        "select expires_at - created_at from outbox.dedup join outbox.message on id = message_id"
    )
    assert rows(window) == [(timedelta(days=2),)]


def test_more_than_a_batch_is_several_and_keeps_its_order(database: str, rows: Rows) -> None:
    count = 2 * BATCH_ROWS_MAX + 1
    with psycopg.connect(database) as conn:
        receipts = publish_many(
            conn,
            [Publication(message=OrderPlaced(order_id=n), key=f"k:{n}") for n in range(count)],
        )

    stored = rows("select id, (payload ->> 'order_id')::int, key from outbox.message order by id")
    assert [(r.message_id, n, f"k:{n}") for n, r in enumerate(receipts)] == stored


def test_batches_are_bounded_in_rows_and_in_size() -> None:
    large = Publication(message=OrderPlaced(order_id=1, note="x" * 200_000))
    batches = batches_of([large] * 50 + [Publication(message=Unheard())] * 2 * BATCH_ROWS_MAX)

    sizes = [len(batch["payloads"]) for batch in batches]
    assert max(sizes) <= BATCH_CHARS_MAX + BATCH_ROWS_MAX + 1  # commas and brackets
    assert len(batches) == 5


def test_a_message_larger_than_its_neighbours_is_not_lost_between_batches(
    database: str, rows: Rows
) -> None:
    large = [Publication(message=OrderPlaced(order_id=n, note="x" * 200_000)) for n in range(45)]
    with psycopg.connect(database) as conn:
        receipts = publish_many(conn, large)

    assert rows("select count(*), count(distinct id) from outbox.message") == [(45, 45)]
    assert [receipt.deliveries for receipt in receipts] == [2] * 45
