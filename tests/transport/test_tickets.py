"""Life of a ticket: exchanged once, sent again when it waits, taken back where nobody reads."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outbox import (
    Attempt,
    Done,
    Effect,
    Message,
    Order,
    Outcome,
    Rate,
    Relay,
    Retry,
    Withdrawn,
    queries_tickets,
)
from outbox.claiming import WINDOW_MIN
from outbox.explain import explain
from outbox.handler import Handler
from outbox.routing import drop_route
from outbox.saga.postgres import PostgresStore
from outbox.transport.tickets import FULL_SECONDS_MAX, FULL_SECONDS_MIN, TicketLane
from outbox.transport.work import first_of
from outbox.transport.worker import taken_of
from tests.outbox.shop import SECOND, OrderPlaced, count_order, made, mailer
from tests.transport.scene import staged, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outbox import Settled
    from tests.outbox.conftest import Rows

BLOCKED = """
select count(*) from pg_stat_activity
where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0
"""
NOTHING_SPENT = "select sum(attempts), sum(lone_claims) from outbox.delivery"


class Receiver:
    """Somebody outside who counts what arrives."""

    def __init__(self, *answers: Outcome) -> None:
        self.arrived: list[int] = []
        self._answers = list(answers)

    async def __call__(self, message: OrderPlaced, attempt: Attempt) -> Outcome:
        del attempt
        self.arrived.append(message.order_id)
        return self._answers.pop(0) if self._answers else Done()


async def test_a_copy_of_a_ticket_finds_no_work(database: str, rows: Rows) -> None:
    receiver = Receiver()
    async with staged(made(mailer(receiver, concurrency=5)), database) as stage:
        for number in range(3):
            await stage.publish(OrderPlaced(order_id=number))
        sent = await stage.send()
        for ticket in [*sent, *reversed(sent), *sent]:
            await stage.hand(ticket)

        assert len(sent) == 3
        assert Counter(receiver.arrived) == {0: 1, 1: 1, 2: 1}
        assert rows("select count(*) from outbox.delivery") == [(0,)]
        assert rows("select * from outbox.lease") == []


@pytest.mark.parametrize("order", [Order.NONE, Order.NEWEST])
async def test_a_copy_finds_no_work_while_another_worker_is_at_it(
    order: Order, database: str, rows: Rows
) -> None:
    receiver = Receiver()
    async with staged(made(mailer(receiver, order=order)), database) as stage:
        await stage.publish(OrderPlaced(order_id=1), key="a")
        (ticket,) = await stage.send()
        taken = await stage.work.exchange([ticket.token], ticket.ids)
        await stage.hand(ticket)
        meanwhile = list(receiver.arrived)
        await stage.work.run_batch(taken, stage.work.starts_by())

        assert meanwhile == []
        assert receiver.arrived == [1]
        assert rows("select attempt, outcome from outbox.receipt") == [(1, "done")]


@pytest.mark.parametrize("effect", [Effect.DATABASE, Effect.IDEMPOTENT, Effect.AMBIGUOUS])
async def test_a_queue_slower_than_a_lease_costs_nothing_and_comes_to_an_end(
    effect: Effect, database: str, rows: Rows
) -> None:
    """Each copy is still good when its turn comes: the token does not change while it waits."""
    receiver = Receiver()
    call: Any = count_order if effect is Effect.DATABASE else receiver
    handler = mailer(call, effect=effect, lone_claims_max=1)
    async with staged(made(handler), database) as stage:
        await stage.publish(OrderPlaced(order_id=1))
        copies = await stage.send()
        for _ in range(4):
            stage.advance(handler.lease + SECOND)
            copies += await stage.look()
            await stage.work.tidy()  # a worker's look makes no suspect of it either
        spent = rows(NOTHING_SPENT)
        for copy in copies:
            await stage.hand(copy)

        assert len(copies) == 5
        assert len({copy.token for copy in copies}) == 1
        assert spent == [(0, 0)]
        assert rows("select attempt, outcome from outbox.receipt") == [(1, "done")]
        assert rows("select * from outbox.dead_letter") == []
        assert receiver.arrived == ([] if effect is Effect.DATABASE else [1])


async def test_tickets_out_are_bounded_by_twice_what_workers_have_room_for(
    database: str, rows: Rows
) -> None:
    out = "select sum(cardinality(deliveries)) from outbox.lease where queue is not null"
    async with staged(made(mailer(Receiver(), concurrency=10)), database) as stage:
        for number in range(60):
            await stage.publish(OrderPlaced(order_id=number))
        first = await stage.send()
        full = rows(out)
        await stage.beat("w2")
        more = await stage.send()
        await stage.hand(first[0])
        again = await stage.send()

        assert full == [(20,)]
        assert rows(out) == [(40,)]
        assert sum(len(ticket.ids) for ticket in more) == 20
        assert len(again) == 1


async def test_two_relays_that_count_at_once_keep_the_bound_together(
    database: str, rows: Rows
) -> None:
    """The second counts what the first has sent, though it began to wait before that."""
    out = "select sum(cardinality(deliveries)) from outbox.lease where queue is not null"
    async with staged(made(mailer(Receiver(), concurrency=4)), database) as stage:
        for number in range(30):
            await stage.publish(OrderPlaced(order_id=number))
        lane = stage.relay.lanes["mailer"]
        assert isinstance(lane, TicketLane)
        async with stage.relay.pool.connection() as conn:
            async with conn.transaction():
                (room,) = await queries_tickets.ticket_rooms(conn, handler="mailer")
                second = asyncio.create_task(lane.take(room.room))
                await until(lambda: rows(BLOCKED)[0][0] > 0)
                claimed = await lane.claims.look().take(conn, room.room)
                await lane._cut(conn, claimed, room)
            batch = await second

        assert len(claimed) == room.room == 8
        assert batch is None
        assert rows(out) == [(8,)]


async def test_one_claim_fills_the_room_and_makes_tickets_that_fit(
    database: str, rows: Rows
) -> None:
    handler = mailer(Receiver(), order=Order.KEYED, concurrency=10)
    most = taken_of(handler, "here")[0].ticket_max
    async with staged(made(handler), database) as stage:
        for number in range(30):
            await stage.publish(OrderPlaced(order_id=number), key=f"k{number % 12}")
        lane = stage.relay.lanes["mailer"]
        batch = await lane.take(lane.room([]))
        assert batch is not None
        await batch.run()
        sent = stage.shelf.tickets

        assert len(batch.rows) == sum(len(ticket.ids) for ticket in sent) == 20
        assert max(len(ticket.ids) for ticket in sent) <= most
        assert (
            rows(
                "select key from outbox.delivery where lease_token is not null"
                " group by key having count(distinct lease_token) > 1"
            )
            == []
        )
        assert rows(
            "select count(*) from outbox.key_lease as k where not exists (select from outbox.lease"
            " as e where e.token = k.token and e.queue is not null)"
        ) == [(0,)]
        for ticket in sent:
            await stage.hand(ticket)
        assert rows("select count(*) from outbox.receipt where outcome = 'done'") == [(20,)]
        assert rows("select * from outbox.key_lease") == []


async def test_tickets_that_wait_are_exchanged_together(database: str, rows: Rows) -> None:
    """One statement for as many as there are slots; the rest once there are enough again."""
    arrived, gate = list[int](), asyncio.Event()

    async def wait(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del attempt
        arrived.append(message.order_id)
        await gate.wait()
        return Done()

    async with staged(made(mailer(wait, concurrency=10)), database) as stage:
        for number in range(12):
            await stage.publish(OrderPlaced(order_id=number))
        sent = await stage.send()
        hands = [asyncio.create_task(stage.hand(one)) for one in sent]
        await until(lambda: len(arrived) >= 10)
        together = rows("select cardinality(deliveries) from outbox.lease where queue is null")
        waiting = stage.work.waiting, len(arrived)
        gate.set()
        await asyncio.gather(*hands)

        assert [len(ticket.ids) for ticket in sent] == [3, 3, 3, 1, 2]
        assert together == [(10,)]
        assert waiting == (1, 10)
        assert sorted(arrived) == list(range(12))


async def test_a_relay_whose_queues_are_full_looks_again_soon_and_less_and_less_often(
    database: str,
) -> None:
    """Workers ring no bell when a slot is free; the poll of an idle relay would be their pace."""
    async with staged(made(mailer(Receiver(), concurrency=5)), database) as stage:
        lane = stage.relay.lanes["mailer"]
        for number in range(12):
            await stage.publish(OrderPlaced(order_id=number))
        first, *_ = await stage.send()
        waits = [lane.looks_again_in or 0.0]
        for _ in range(9):
            assert await lane.take(100) is None
            waits.append(lane.looks_again_in or 0.0)
        await stage.hand(first)
        assert await lane.run_once() == 1

        assert waits[0] == FULL_SECONDS_MIN
        assert waits == sorted(waits)
        assert waits[-1] == FULL_SECONDS_MAX
        assert lane.looks_again_in is None


async def test_what_has_no_key_of_a_newest_only_handler_goes_by_ticket_too(
    database: str, rows: Rows
) -> None:
    receiver = Receiver()
    async with staged(made(mailer(receiver, order=Order.NEWEST)), database) as stage:
        await stage.publish(OrderPlaced(order_id=1))
        await stage.publish(OrderPlaced(order_id=2), key="a")
        for ticket in await stage.send():
            await stage.hand(ticket)

        assert sorted(receiver.arrived) == [1, 2]
        assert rows("select * from outbox.delivery") == []


TAKE_KEY = """
insert into outbox.key_lease (handler, key, token, until)
values ('mailer', %s, gen_random_uuid(), now() + interval '1 h')
"""


async def test_a_window_of_keys_is_let_go_before_the_next_is_looked_into(
    database: str, rows: Rows
) -> None:
    """Two claims that hold one window while they lock the next would wait for each other."""
    receiver = Receiver(Retry(timedelta(hours=1), "busy"))
    async with staged(made(mailer(receiver, order=Order.KEYED)), database) as stage:
        await stage.publish(OrderPlaced(order_id=0), key="a")
        for ticket in await stage.send():
            await stage.hand(ticket)  # from now on the key waits
        for number in range(WINDOW_MIN + 1):
            await stage.publish(OrderPlaced(order_id=number), key="a")
        await stage.publish(OrderPlaced(order_id=9), key="b")
        async with (
            await psycopg.AsyncConnection.connect(database) as holds,
            await psycopg.AsyncConnection.connect(database) as wants,
        ):
            await holds.execute(TAKE_KEY, ["b"])
            claiming = asyncio.create_task(stage.send())
            await until(lambda: rows(BLOCKED) == [(1,)])
            await wants.execute("set lock_timeout = '2 s'")
            await wants.execute(TAKE_KEY, ["a"])
            await wants.rollback()
            await holds.rollback()
            sent = await claiming

        assert [len(ticket.ids) for ticket in sent] == [1]


async def test_a_worker_obeys_the_rate_and_no_lease_runs_while_a_ticket_waits(
    database: str, rows: Rows
) -> None:
    """What the rate allows is called, the rest waits as tickets, which cost nothing."""
    receiver = Receiver()
    handler = mailer(receiver, rate=Rate(1, burst=2), concurrency=20)
    async with staged(made(handler), database) as stage, asyncio.TaskGroup() as group:
        for number in range(6):
            await stage.publish(OrderPlaced(order_id=number))
        sent = await stage.send()
        hands = [group.create_task(stage.hand(ticket)) for ticket in sent]
        await hands[0]
        at_once, working = sorted(receiver.arrived), rows(NOTHING_SPENT)
        stage.advance(SECOND)
        await asyncio.sleep(0)
        after_one = len(receiver.arrived)
        stage.advance(SECOND)
        await hands[1]
        after_two = len(receiver.arrived)
        stage.work.stop.set()  # the last one is still waiting for its turn
        await hands[2]

        assert [len(ticket.ids) for ticket in sent] == [2, 2, 2]
        assert at_once == [0, 1]
        assert working == [(0, 0)]
        assert (after_one, after_two) == (2, 4)
        assert rows("select count(*) from outbox.delivery where lease_token is null") == [(2,)]


async def test_a_copy_that_finds_no_work_spends_nothing_of_the_rate(database: str) -> None:
    receiver = Receiver()
    handler = mailer(receiver, rate=Rate(1, burst=2), concurrency=5)
    async with staged(made(handler), database) as stage:
        for number in range(2):
            await stage.publish(OrderPlaced(order_id=number))
        first, second = await stage.send()
        for ticket in (first, first, first, second):
            await stage.hand(ticket)

        assert sorted(receiver.arrived) == [0, 1]


async def test_without_a_worker_nothing_is_handed_over(database: str, rows: Rows) -> None:
    async with staged(made(mailer()), database, beat=False) as stage:
        await stage.publish(OrderPlaced(order_id=1))

        assert await stage.send() == []
        assert rows("select lease_token from outbox.delivery") == [(None,)]


async def test_what_lies_in_a_queue_that_nobody_reads_is_taken_back(
    database: str, rows: Rows
) -> None:
    """An inline relay, or the next worker, takes it anew; the old copy finds nothing."""
    receiver = Receiver()
    handler = mailer(receiver)
    app = made(handler)
    async with staged(app, database) as stage:
        await stage.publish(OrderPlaced(order_id=1))
        (lost,) = await stage.send()
        await stage.lose_worker()
        stage.advance(handler.lease + SECOND)
        inline = Relay(app, database)
        async with inline.opened():
            await inline.drain()
        await stage.hand(lost)

        assert receiver.arrived == [1]
        assert rows("select attempt, outcome from outbox.receipt") == [(1, "done")]


async def test_a_ticket_for_a_handler_paused_meanwhile_goes_back(database: str, rows: Rows) -> None:
    receiver = Receiver()
    async with staged(made(mailer(receiver)), database) as stage:
        await stage.publish(OrderPlaced(order_id=1))
        (ticket,) = await stage.send()
        rows("update outbox.destination set paused_at = now(), paused_by = 'a', paused_why = 'b'")
        await stage.hand(ticket)
        paused = rows("select lease_token, attempts, lone_claims from outbox.delivery")
        rows("update outbox.destination set paused_at = null")
        (fresh,) = await stage.send()
        await stage.hand(fresh)

        assert paused == [(None, 0, 0)]
        assert receiver.arrived == [1]


@pytest.mark.parametrize("order", [Order.NONE, Order.KEYED])
async def test_what_only_lies_in_a_queue_can_be_taken_back(
    order: Order, database: str, rows: Rows
) -> None:
    """A ticket is no beginning: its copy finds nothing, `record` is told, the key goes on."""
    receiver, told = Receiver(), list[Any]()

    async def record(conn: Any, settled: Sequence[Settled]) -> None:
        del conn
        told.extend((one.delivery_id, one.outcome) for one in settled)

    handler = mailer(receiver, order=order, record=record)
    async with staged(made(handler), database) as stage:
        for number in (1, 2):
            await stage.publish(OrderPlaced(order_id=number), key="a")
            late = await stage.send() if number == 1 else []
        ((message, first),) = rows("select message_id, id from outbox.delivery order by id limit 1")
        async with stage.relay.pool.connection() as conn, conn.transaction():
            await PostgresStore(conn, stage.work.app).withdraw([message], reason="taken_back")
        for ticket in [*late, *await stage.send()]:
            await stage.hand(ticket)

        assert told == [(first, Withdrawn("taken_back")), (first + 1, Done())]
        assert receiver.arrived == [2]
        assert rows("select * from outbox.delivery") == []
        assert rows("select * from outbox.key_lease") == []


async def test_what_lies_in_a_queue_is_explained_so(database: str) -> None:
    """P11: nobody is trying it, and when its lease runs out it is no suspect."""
    handler = mailer(Receiver())
    async with staged(made(handler), database) as stage:
        await stage.publish(OrderPlaced(order_id=1))
        (ticket,) = await stage.send()
        found = []
        for _ in range(2):
            async with stage.relay.pool.connection() as conn:
                now = stage.clock.sql_now()
                found.append(await explain(conn, stage.work.app, ticket.ids[0], now=now))
            stage.advance(handler.lease + SECOND)

        assert [one and one.state for one in found] == ["queued", "queued"]
        assert found[0] is not None
        assert f"{stage.relay.name} sent a ticket to {ticket.queue}" in found[0].reason


async def test_a_key_of_which_a_ticket_holds_more_stays_with_it(database: str, rows: Rows) -> None:
    receiver = Receiver()
    handler = mailer(receiver, order=Order.KEYED, concurrency=20)
    async with staged(made(handler), database) as stage:
        for number in (1, 2):
            await stage.publish(OrderPlaced(order_id=number), key="a")
        (ticket,) = await stage.send()
        ((message,),) = rows("select min(message_id) from outbox.delivery")
        async with stage.relay.pool.connection() as conn, conn.transaction():
            await PostgresStore(conn, stage.work.app).withdraw([message], reason="taken_back")
        held = rows("select token from outbox.key_lease")
        await stage.hand(ticket)

        assert len(ticket.ids) == 2
        assert held == [(ticket.token,)]
        assert receiver.arrived == [2]


async def test_what_a_worker_has_exchanged_is_not_taken_back(database: str, rows: Rows) -> None:
    """Nor while the exchange is under way: the withdrawal waits for it and looks again."""
    receiver = Receiver()
    async with staged(made(mailer(receiver)), database) as stage:
        await stage.publish(OrderPlaced(order_id=1))
        (ticket,) = await stage.send()
        ((message,),) = rows("select message_id from outbox.delivery")

        async def take_back() -> None:
            async with stage.relay.pool.connection() as conn, conn.transaction():
                await PostgresStore(conn, stage.work.app).withdraw([message], reason="taken_back")

        terms = stage.work.claims.terms(1)
        async with stage.relay.pool.connection() as conn, conn.transaction():
            taken = await queries_tickets.exchange_tickets(
                conn, terms, tickets=[ticket.token], ids=ticket.ids
            )
            waiting = asyncio.create_task(take_back())
            await until(lambda: rows(BLOCKED) == [(1,)])
        await waiting
        await stage.work.run_batch(taken, stage.work.starts_by())

        assert receiver.arrived == [1]
        assert rows("select outcome from outbox.receipt") == [("done",)]


async def test_nothing_flies_under_a_ticket_that_is_revoked(database: str, rows: Rows) -> None:
    """What is to come after it need not wait for a call that nobody makes."""
    async with staged(made(mailer(Receiver(), concurrency=1)), database) as stage:
        for number in (1, 2):
            await stage.publish(OrderPlaced(order_id=number))
        lies, flies = await stage.send()
        (taken,) = await stage.work.exchange([flies.token], flies.ids)
        found = []
        for one in (*lies.ids, *flies.ids):
            ((message,),) = rows("select message_id from outbox.delivery where id = %s", one)
            async with stage.relay.pool.connection() as conn, conn.transaction():
                store = PostgresStore(conn, stage.work.app)
                found.append(await store.revoke([message], reason="undone"))
        await stage.hand(lies)

        assert found == [None, taken.lease_until]
        assert rows("select * from outbox.delivery") == []


async def test_a_dropped_route_withdraws_what_only_lies_in_a_queue(
    database: str, rows: Rows
) -> None:
    receiver = Receiver()
    async with staged(made(mailer(receiver, concurrency=1)), database) as stage:
        for number in (1, 2):
            await stage.publish(OrderPlaced(order_id=number))
        lies, flies = await stage.send()
        taken = await stage.work.exchange([flies.token], flies.ids)
        async with await psycopg.AsyncConnection.connect(database) as conn:
            done = await drop_route(
                conn, stage.work.app, "order.placed", "mailer", actor="jo", withdraw=True
            )
        await stage.hand(lies)
        await stage.work.run_batch(taken, stage.work.starts_by())

        assert (done.withdrawn, done.left) == (1, 1)
        assert rows("select outcome from outbox.receipt order by id") == [("withdrawn",), ("done",)]
        assert receiver.arrived == [2]


async def test_a_newest_only_ticket_takes_what_is_newest_when_its_turn_comes(
    database: str, rows: Rows
) -> None:
    receiver = Receiver()
    async with staged(made(mailer(receiver, order=Order.NEWEST)), database) as stage:
        await stage.publish(OrderPlaced(order_id=1), key="a")
        (ticket,) = await stage.send()
        await stage.publish(OrderPlaced(order_id=2), key="a")
        meanwhile = await stage.send()
        await stage.hand(ticket)

        assert meanwhile == []
        assert receiver.arrived == [2]
        outcomes = rows("select outcome from outbox.receipt order by id")
        assert outcomes == [("superseded",), ("done",)]
        assert rows("select * from outbox.key_lease") == []


async def test_a_key_is_in_one_hand_and_in_order_through_tickets(database: str, rows: Rows) -> None:
    receiver = Receiver(Done(), Done(), Retry(10 * SECOND, "busy"))
    handler = mailer(receiver, order=Order.KEYED, concurrency=5)
    async with staged(made(handler), database) as stage:
        for number in range(4):
            await stage.publish(OrderPlaced(order_id=number), key="a")
        await stage.publish(OrderPlaced(order_id=9), key="b")
        for _ in range(12):
            for ticket in await stage.send():
                await stage.hand(ticket)
            stage.advance(5 * SECOND)

        of_a = [number for number in receiver.arrived if number != 9]
        assert of_a == [0, 1, 1, 2, 3]
        assert receiver.arrived.count(9) == 1
        assert rows("select * from outbox.key_lease") == []


async def test_a_broker_that_is_away_spends_nothing(database: str, rows: Rows) -> None:
    receiver = Receiver()
    async with staged(made(mailer(receiver)), database) as stage:
        await stage.publish(OrderPlaced(order_id=1))
        stage.shelf.away = True
        lane = stage.relay.lanes["mailer"]
        assert await lane.run_once() == 1
        left = rows("select lease_token, attempts, lone_claims, due_at from outbox.delivery")
        stage.shelf.away = False
        for ticket in await stage.send():
            await stage.hand(ticket)

        assert left == [(None, 0, 0, None)]
        assert receiver.arrived == [1]


async def test_a_ticket_that_cannot_be_sent_again_is_due_at_once(database: str, rows: Rows) -> None:
    """Else each failure of the broker would cost a lease more."""
    handler = mailer(Receiver())
    async with staged(made(handler), database) as stage:
        await stage.publish(OrderPlaced(order_id=1))
        await stage.send()
        stage.advance(handler.lease + SECOND)
        stage.shelf.away = True
        again = await stage.look()

        assert again == []
        assert rows("select lease_token, lone_claims from outbox.delivery") == [(None, 0)]
        assert rows("select * from outbox.lease") == []


async def test_a_worker_that_dies_leaves_a_suspect_to_be_claimed_alone(
    database: str, rows: Rows
) -> None:
    handler = mailer(Receiver(), lone_claims_max=1, concurrency=10)
    async with staged(made(handler), database) as stage:
        for number in range(2):
            await stage.publish(OrderPlaced(order_id=number))
        tickets = await stage.send()
        taken = [await stage.work.exchange([ticket.token], ticket.ids) for ticket in tickets]
        stage.advance(handler.lease + SECOND)
        again = [*await stage.look(), *await stage.send()]
        async with stage.relay.pool.connection() as conn:
            alone = await stage.work.claims.claim_alone(conn)  # and this one dies as well
        stage.advance(handler.lease + SECOND)
        await stage.work.clean_up()

        assert [len(rows_) for rows_ in taken] == [2]
        assert again == []
        assert len(alone) == 1
        assert rows("select reason from outbox.dead_letter") == [("poison",)]
        assert rows("select outcome from outbox.receipt order by id") == [("dead",), ("done",)]


class NewOrderPlaced(Message, topic="order.placed", version=2):
    """What the next version of the shop publishes."""

    order_id: int


async def test_each_kind_of_worker_gets_what_its_code_reads(database: str, rows: Rows) -> None:
    """An old relay beside old and new workers, in the middle of a deploy."""
    old = mailer(Receiver())
    new = mailer(Receiver(), messages=(OrderPlaced, NewOrderPlaced))
    newer = staged(made(new), database, beat=False)
    async with staged(made(old), database) as before, newer as after:
        await after.beat("w2")
        for number in range(2):
            await before.publish(OrderPlaced(order_id=number))
            await before.publish(NewOrderPlaced(order_id=10 + number))
        sent = await before.send()
        newly = taken_of(new, "here")[0].queue
        for ticket in sent:
            await (after if ticket.queue == newly else before).hand(ticket)
        while more := await before.send():
            for ticket in more:
                await (after if ticket.queue == newly else before).hand(ticket)

        assert rows("select count(*) from outbox.delivery") == [(0,)]
        assert rows("select outcome, attempt from outbox.receipt") == [("done", 1)] * 4


async def test_a_worker_s_concurrency_is_never_passed() -> None:
    for concurrency in (1, 2, 4, 5, 7, 9, 10, 14, 100):
        taken, tickets = taken_of(mailer(concurrency=concurrency), "here")

        assert taken.ticket_max <= taken.slots == concurrency
        assert concurrency <= taken.ticket_max * tickets


def test_queues_differ_by_database_handler_and_what_is_read() -> None:
    new = mailer(messages=(OrderPlaced, NewOrderPlaced))
    other = Handler(
        name="other", messages=(OrderPlaced,), effect=Effect.IDEMPOTENT, call=Receiver()
    )
    queues = {
        taken_of(mailer(), "here")[0].queue, taken_of(mailer(), "there")[0].queue,
        taken_of(new, "here")[0].queue, taken_of(other, "here")[0].queue,
    }  # fmt: skip

    assert len(queues) == 4


async def test_a_wait_that_is_cancelled_leaves_nobody_waiting() -> None:
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(first_of(asyncio.Event(), asyncio.Event()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)  # those it had begun end in the next turn

    assert asyncio.all_tasks() == before
