"""P4: the three effects; what a crash, a time-out or an error makes of each."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outbox import (
    Attempt,
    Dead,
    Done,
    Effect,
    Outcome,
    OutcomeUnknown,
    PermanentFailure,
    Retry,
    Settled,
    Suppressed,
    TransientFailure,
    Unknown,
    UnknownPolicy,
    apublish,
)
from outbox.unknown import resend
from tests.outbox.shop import MINUTE, SECOND, OrderPlaced, StockChanged, count_order, mailer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from tests.outbox.conftest import Opened, Rows

ORDER = OrderPlaced(order_id=1)
SOON = timedelta(milliseconds=20)


@dataclass
class Receiver:
    """Somebody outside who counts what arrives, and answers as told, then `Done`."""

    answers: list[Outcome | Exception] = field(default_factory=list)
    arrived: Counter[int] = field(default_factory=Counter)
    attempts: list[Attempt] = field(default_factory=list)

    async def __call__(self, message: OrderPlaced, attempt: Attempt) -> Outcome:
        self.arrived[message.order_id] += 1
        self.attempts.append(attempt)
        answer = self.answers.pop(0) if self.answers else Done()
        if isinstance(answer, Exception):
            raise answer
        return answer


async def never(message: Any, attempt: Attempt, *args: Any) -> Outcome:
    """An answer that does not come."""
    del message, attempt, args
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_database_effect_commits_with_its_settlement(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer(count_order, effect=Effect.DATABASE))
    for number in range(5):
        await box.publish(OrderPlaced(order_id=number, note=str(number)))

    assert await box.run_once() == 5
    assert rows("select note from effect order by id") == [(str(n),) for n in range(5)]
    assert (await box.census()).done == 5


async def test_a_database_effect_of_a_lost_lease_rolls_back(opened: Opened, rows: Rows) -> None:
    """P3: the writes go with the settlement, so the new holder's effect is the only one."""

    async def outlived(message: Any, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
        del message
        await conn.execute("insert into effect (delivery_id) values (%s)", (attempt.delivery_id,))
        rows(  # another holder, meanwhile
            "update outbox.delivery set lease_token = gen_random_uuid() where id = %s",
            attempt.delivery_id,
        )
        return Done()

    box = await opened(mailer(outlived, effect=Effect.DATABASE))
    await box.publish(ORDER)
    await box.run_once()

    assert rows("select * from effect") == []
    assert (await box.census()).leased == 1


async def test_what_a_database_handler_publishes_commits_with_it(
    opened: Opened, rows: Rows
) -> None:
    async def onward(message: OrderPlaced, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
        del attempt
        await apublish(conn, StockChanged(shelf="a", count=message.order_id))
        if message.order_id == 1:
            raise TransientFailure("busy")
        return Done()

    box = await opened(mailer(onward, effect=Effect.DATABASE))
    await box.publish(OrderPlaced(order_id=1))
    await box.publish(OrderPlaced(order_id=2))
    await box.run_once()

    stock = "select payload ->> 'count' from outbox.message where topic = 'stock.changed'"
    assert rows(stock) == [("2",)]


@pytest.mark.parametrize(
    "fault",
    [
        ValueError("someone@example.org"),
        PermanentFailure("refused"),
        psycopg.DataError("someone@example.org"),
    ],
    ids=lambda fault: type(fault).__name__,
)
async def test_one_bad_message_costs_its_neighbours_nothing(
    fault: Exception, opened: Opened, rows: Rows
) -> None:
    """The batch is rolled back and each runs alone: the good ones have their effect once."""

    async def picky(message: OrderPlaced, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
        found = await count_order(message, attempt, conn)
        if message.order_id == 2:
            raise fault
        return found

    box = await opened(mailer(picky, effect=Effect.DATABASE))
    for number in range(4):
        await box.publish(OrderPlaced(order_id=number, note=str(number)))
    await box.run_once()
    census = await box.census()

    assert rows("select note from effect order by note") == [("0",), ("1",), ("3",)]
    assert census.done == 3
    assert census.pending + census.dead == 1
    assert rows("select * from outbox.receipt where receipt::text like '%example.org%'") == []


async def test_a_statement_that_failed_is_rolled_back_whatever_the_handler_says(
    opened: Opened, rows: Rows
) -> None:
    """It swallowed the error and returned Done: the effect is not there, so it is not done."""

    async def swallowing(message: Any, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
        await count_order(message, attempt, conn)
        try:
            await conn.execute("select 1 / 0")
        except psycopg.Error:
            return Done()
        raise AssertionError

    box = await opened(mailer(swallowing, effect=Effect.DATABASE))
    await box.publish(ORDER)
    await box.run_once()

    assert rows("select * from effect") == []
    assert (await box.census()).pending == 1


async def test_a_database_outcome_that_is_not_well_keeps_nothing(
    opened: Opened, rows: Rows
) -> None:
    async def undecided(message: Any, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
        await count_order(message, attempt, conn)
        return Dead("refused") if message.order_id else Retry(10 * SECOND, "busy")

    box = await opened(mailer(undecided, effect=Effect.DATABASE))
    await box.publish(OrderPlaced(order_id=0))
    await box.publish(OrderPlaced(order_id=1))
    await box.run_once()
    census = await box.census()

    assert rows("select * from effect") == []
    assert (census.pending, census.dead) == (1, 1)


async def test_an_idempotent_call_is_made_again_after_a_crash(opened: Opened) -> None:
    receiver = Receiver()
    box = await opened(mailer(receiver))
    await box.publish(ORDER)
    await box.claim_one()  # and crash
    box.advance(31 * SECOND)

    assert await box.drain() == 1
    assert receiver.arrived == {1: 1}
    assert (await box.census()).done == 1


async def test_an_idempotent_call_that_answers_busy_is_made_again_on_time(opened: Opened) -> None:
    receiver = Receiver([TransientFailure("busy"), Retry(reason="busy"), Done({"id": "7"})])
    box = await opened(mailer(receiver))
    await box.publish(ORDER)
    await box.drain()
    box.advance(10 * SECOND)
    await box.drain()
    box.advance(59 * SECOND)
    assert await box.drain() == 0
    box.advance(1 * SECOND)
    await box.drain()

    receipts = await box.receipts(receiver.attempts[0].delivery_id)
    assert [(r["attempt"], r["outcome"], r["reason"]) for r in receipts] == [
        (1, "retry", "busy"),
        (2, "retry", "busy"),
        (3, "done", None),
    ]
    assert receipts[-1]["detail"] == {"id": "7"}
    assert [attempt.number for attempt in receiver.attempts] == [1, 2, 3]


@pytest.mark.parametrize("answer", [Unknown("lost"), OutcomeUnknown("lost")])
async def test_what_tolerates_a_repeat_is_never_unknown(
    answer: Outcome | Exception, opened: Opened
) -> None:
    """Held for a human is only what must not be repeated; an idempotent call simply is."""
    receiver = Receiver([answer])
    box = await opened(mailer(receiver))
    await box.publish(ORDER)
    await box.drain()
    box.advance(10 * SECOND)
    await box.drain()

    census = await box.census()
    assert (census.done, census.unknown) == (1, 0)
    assert receiver.arrived == {1: 2}


async def test_attempts_end_in_a_dead_letter_that_can_be_redriven(opened: Opened) -> None:
    receiver = Receiver([TransientFailure("busy")] * 4)
    box = await opened(mailer(receiver))
    await box.publish(ORDER)
    for wait in (0, 10, 60, 300):
        box.advance(wait * SECOND)
        await box.drain()
    dead = await box.census()
    risen = await box.redrive(actor="coordinator")
    await box.drain()

    assert dead.dead == 1
    assert len(risen) == 1
    receipts = await box.receipts(risen[0])
    assert [r["outcome"] for r in receipts] == ["retry"] * 3 + ["dead", "redriven", "done"]
    assert receipts[3]["reason"] == "attempts_exhausted:busy"
    assert receipts[4]["detail"]["actor"] == "coordinator"
    assert receipts[5]["attempt"] == 1
    assert (await box.census()).dead == 0


@pytest.mark.parametrize("effect", [Effect.DATABASE, Effect.IDEMPOTENT])
async def test_a_call_beyond_its_time_is_tried_again(effect: Effect, opened: Opened) -> None:
    box = await opened(mailer(never, effect=effect, timeout=SOON))
    await box.publish(ORDER)
    await box.run_once()
    box.advance(10 * SECOND)
    lease = await box.claim_one()

    assert lease.attempt == 2
    assert (await box.receipts(lease.delivery_id))[0]["reason"] == "timeout"


async def test_an_ambiguous_call_beyond_its_time_is_unknown(opened: Opened) -> None:
    box = await opened(mailer(never, effect=Effect.AMBIGUOUS, timeout=SOON))
    await box.publish(ORDER)
    await box.run_once()
    box.advance(MINUTE)

    assert await box.drain() == 0
    assert (await box.census()).unknown == 1


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (ConnectionResetError(), "unknown"),
        (OutcomeUnknown("reset"), "unknown"),
        (Unknown("reset"), "unknown"),
        (TransientFailure("busy"), "pending"),
        (Retry(reason="busy"), "pending"),
        (PermanentFailure("refused"), "dead"),
        (Suppressed("nobody"), "done"),
        (None, "dead"),
    ],
    ids=repr,
)
async def test_what_an_ambiguous_call_answers_decides(
    answer: Any, state: str, opened: Opened
) -> None:
    """A foreign error says nothing about how far the call had come, so it is unknown."""

    async def call(message: Any, attempt: Attempt) -> Outcome:
        del message, attempt
        if isinstance(answer, Exception):
            raise answer
        found: Outcome = answer
        return found

    box = await opened(mailer(call, effect=Effect.AMBIGUOUS))
    await box.publish(ORDER)
    await box.run_once()

    assert getattr(await box.census(), state) == 1


async def test_a_begun_call_that_lost_its_lease_is_unknown_even_while_paused(
    opened: Opened, rows: Rows
) -> None:
    told: list[Settled] = []

    async def record(conn: Any, settled: Sequence[Settled]) -> None:
        del conn
        told.extend(settled)

    box = await opened(mailer(effect=Effect.AMBIGUOUS, record=record))
    await box.publish(ORDER)
    await box.begin(await box.claim_one())
    rows("update outbox.destination set paused_at = now()")
    box.advance(31 * SECOND)
    await box.drain()

    assert (await box.census()).unknown == 1
    assert [(one.outcome, one.final) for one in told] == [
        (Unknown("lease_lost_after_begin"), False)
    ]


async def test_the_late_done_of_an_unknown_still_settles_it(opened: Opened) -> None:
    box = await opened(mailer(effect=Effect.AMBIGUOUS))
    await box.publish(ORDER)
    lease = await box.claim_one()
    await box.begin(lease)
    box.advance(31 * SECOND)
    await box.drain()

    assert await box.settle(lease, Done())
    census = await box.census()
    assert (census.unknown, census.done) == (0, 1)


async def test_a_call_not_begun_is_no_unknown(opened: Opened) -> None:
    receiver = Receiver()
    box = await opened(mailer(receiver, effect=Effect.AMBIGUOUS))
    await box.publish(ORDER)
    await box.claim_one()  # and crash before the first byte
    box.advance(31 * SECOND)
    await box.drain()

    assert receiver.arrived == {1: 1}
    assert (await box.census()).done == 1


@pytest.mark.parametrize("how", ["reported", "expired"])
async def test_resend_once_sends_once_more_and_then_holds(how: str, opened: Opened) -> None:
    receiver = Receiver([OutcomeUnknown("reset"), OutcomeUnknown("reset")])
    box = await opened(mailer(receiver, effect=Effect.AMBIGUOUS, unknown=UnknownPolicy.RESEND_ONCE))
    await box.publish(ORDER)
    if how == "expired":
        receiver.answers.pop()
        await box.begin(await box.claim_one())
        box.advance(31 * SECOND)
    await box.drain()
    box.advance(MINUTE)
    await box.drain()

    assert receiver.arrived[1] == (2 if how == "reported" else 1)
    assert receiver.attempts[-1].resend
    assert receiver.attempts[-1].number == 2
    assert (await box.census()).unknown == 1


async def test_a_late_answer_after_the_resend_settles_nothing(opened: Opened) -> None:
    box = await opened(mailer(effect=Effect.AMBIGUOUS, unknown=UnknownPolicy.RESEND_ONCE))
    await box.publish(ORDER)
    lease = await box.claim_one()
    await box.begin(lease)
    box.advance(31 * SECOND)
    await box.decide_expired()

    assert not await box.settle(lease, Done())


async def test_a_person_may_send_an_unknown_again(opened: Opened) -> None:
    receiver = Receiver([OutcomeUnknown("reset")])
    box = await opened(mailer(receiver, effect=Effect.AMBIGUOUS))
    await box.publish(ORDER)
    await box.run_once()
    async with box.relay.pool.connection() as conn:
        ids = [receiver.attempts[0].delivery_id]
        assert await resend(conn, box.app, ids, actor="operator") == ids
    await box.drain()

    assert receiver.arrived == {1: 2}
    assert (await box.census()).done == 1


async def test_record_is_told_in_the_settling_transaction(opened: Opened, rows: Rows) -> None:
    """What it writes and the receipt are one commit: it raises, and neither is there."""

    async def record(conn: AsyncConnection[Any], settled: Sequence[Settled]) -> None:
        for one in settled:
            note = type(one.outcome).__name__
            await conn.execute(
                "insert into effect (delivery_id, note) values (%s, %s)", (one.delivery_id, note)
            )
            if isinstance(one.message, OrderPlaced) and one.message.order_id == 2:
                raise ValueError(one.message.note)

    receiver = Receiver()
    box = await opened(mailer(receiver, record=record))
    for number in (1, 2, 3):
        await box.publish(OrderPlaced(order_id=number))
    await box.run_once()
    census = await box.census()

    assert receiver.arrived == {1: 1, 2: 1, 3: 1}
    assert rows("select note from effect") == [("Done",), ("Done",)]
    assert (census.done, census.leased) == (2, 1)


@pytest.mark.parametrize("outcome", [Done(), Retry(SECOND, "busy"), Dead("no")])
async def test_a_record_has_a_place_of_its_own_however_a_delivery_ends(
    outcome: Outcome, opened: Opened
) -> None:
    """It may take long, and then it must not keep the short statements of others (P8)."""
    placed: list[bool] = []

    async def record(conn: Any, settled: Sequence[Settled]) -> None:
        del conn, settled
        places = box.lane("mailer").places
        placed.append(places._own.locked() or places._shared.locked())

    async def call(message: OrderPlaced, attempt: Attempt, conn: Any) -> Outcome:
        del message, attempt, conn
        return outcome

    box = await opened(mailer(call, effect=Effect.DATABASE, record=record))
    await box.publish(OrderPlaced(order_id=1))
    tried = await box.drain()

    assert (tried, placed) == (1, [True])


async def test_a_record_that_raises_costs_a_database_batch_only_its_own(
    opened: Opened, rows: Rows
) -> None:
    async def record(conn: Any, settled: Sequence[Settled]) -> None:
        del conn
        for one in settled:
            if isinstance(one.message, OrderPlaced) and one.message.order_id == 2:
                raise ValueError(one.message.note)

    box = await opened(mailer(count_order, effect=Effect.DATABASE, record=record))
    for number in (1, 2, 3):
        await box.publish(OrderPlaced(order_id=number))
    await box.run_once()
    census = await box.census()

    assert rows("select count(*) from effect") == [(2,)]
    assert (census.done, census.leased) == (2, 1)


async def test_a_payload_its_class_refuses_is_a_dead_letter(opened: Opened, rows: Rows) -> None:
    receiver = Receiver()
    box = await opened(mailer(receiver))
    rows("""select outbox.publish('order.placed', '{"order_id": "someone@example.org"}')""")
    rows("""select outbox.publish('order.placed', '{"order_id": 2}')""")
    await box.drain()

    assert receiver.arrived == {2: 1}
    letters = rows("select reason, error_type, letter::text from outbox.dead_letter as letter")
    assert [letter[:2] for letter in letters] == [("payload_unreadable", "ValidationError")]
    assert "example.org" not in letters[0][2]


@pytest.mark.parametrize("effect", [Effect.DATABASE, Effect.IDEMPOTENT, Effect.AMBIGUOUS])
async def test_a_version_unknown_here_is_left_to_a_newer_relay(
    effect: Effect, opened: Opened, rows: Rows
) -> None:
    box = await opened(mailer(never, effect=effect))
    rows("""select outbox.publish('order.placed', '{"order": 1}', version => 2)""")
    await box.drain()

    assert await box.claim("mailer") == []
    assert rows("select attempts, due_at, lease_token from outbox.delivery") == [(0, None, None)]
    assert rows("select * from outbox.receipt") == []


async def test_prepare_sees_the_batch_once_and_may_settle_without_a_call(opened: Opened) -> None:
    batches: list[int] = []

    async def prepare(conn: Any, items: Sequence[tuple[OrderPlaced, Attempt]]) -> dict[int, Any]:
        del conn
        batches.append(len(items))
        return {
            attempt.delivery_id: Suppressed("odd")
            if message.order_id % 2
            else message.order_id * 10
            for message, attempt in items
        }

    receiver = Receiver()
    box = await opened(mailer(receiver, prepare=prepare))
    for number in range(4):
        await box.publish(OrderPlaced(order_id=number))
    await box.run_once()

    assert batches == [4]
    assert sorted(attempt.prepared for attempt in receiver.attempts) == [0, 20]
    assert (await box.census()).done == 4


async def test_what_cannot_be_prepared_costs_its_neighbours_nothing(opened: Opened) -> None:
    async def prepare(conn: Any, items: Sequence[tuple[OrderPlaced, Attempt]]) -> dict[int, Any]:
        del conn
        return {attempt.delivery_id: 1 // message.order_id for message, attempt in items}

    receiver = Receiver()
    box = await opened(mailer(receiver, prepare=prepare, effect=Effect.AMBIGUOUS))
    for number in range(3):
        await box.publish(OrderPlaced(order_id=number))
    await box.run_once()
    census = await box.census()

    assert receiver.arrived == {1: 1, 2: 1}
    assert (census.done, census.pending) == (2, 1)


async def test_calls_of_a_batch_run_at_once_and_no_more_than_allowed(opened: Opened) -> None:
    running, most = 0, 0
    everybody = asyncio.Event()

    async def meet(message: Any, attempt: Attempt) -> Outcome:
        nonlocal running, most
        del message, attempt
        running += 1
        most = max(most, running)
        if running == 3:
            everybody.set()
        await everybody.wait()
        running -= 1
        return Done()

    box = await opened(mailer(meet, concurrency=3))
    for number in range(6):
        await box.publish(OrderPlaced(order_id=number))
    await box.drain()

    assert most == 3
    assert (await box.census()).done == 6
