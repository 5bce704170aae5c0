"""P4: what nobody can know is kept, asked about, sent once more, or decided by a person."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from outbox import (
    Answer,
    Dead,
    Done,
    Effect,
    OutcomeUnknown,
    Probe,
    Retry,
    Settled,
    Unknown,
    UnknownPolicy,
)
from outbox.asking import ask_due
from outbox.errors import HandlerMissing
from outbox.explain import explain
from outbox.queries_unknown import list_unknown
from outbox.retry import Ladder
from outbox.unknown import Resolution, resolve
from tests.outbox.shop import MINUTE, SECOND, OrderPlaced, made, mailer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outbox import Attempt, Handler, Outcome
    from outbox.testing import Lease, OutboxHarness
    from tests.outbox.conftest import Opened, Rows

LAST = "select outcome, reason, relay from outbox.receipt order by id desc limit 1"


class Receiver:
    """Takes calls and hangs up; `answers` are what it says when it is asked about them."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)
        self.calls: list[Attempt] = []
        self.asked: list[Attempt] = []
        self.told: list[Settled] = []
        self.hangs_up = True

    async def __call__(self, message: OrderPlaced, attempt: Attempt) -> Outcome:
        del message
        self.calls.append(attempt)
        if self.hangs_up:
            raise OutcomeUnknown("hung_up")
        return Done()

    async def ask(self, message: OrderPlaced, attempt: Attempt) -> Answer:
        assert isinstance(message, OrderPlaced)
        self.asked.append(attempt)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def record(self, conn: Any, settled: Sequence[Settled]) -> None:
        del conn
        self.told.extend(settled)

    @property
    def outcomes(self) -> list[Any]:
        return [one.outcome for one in self.told]

    def handler(self, **terms: Any) -> Handler:
        return mailer(self, effect=Effect.AMBIGUOUS, record=self.record, **terms)

    def asking(self, **terms: Any) -> Handler:
        probe = Probe(self.ask, backoff=Ladder((10, 60)), asks_max=2)
        return self.handler(unknown=UnknownPolicy.PROBE, probe=probe, **terms)


async def unknown_order(opened: Opened, handler: Handler) -> tuple[OutboxHarness, Lease]:
    """A begun call whose lease ran out; its worker may yet answer."""
    box = await opened(handler)
    await box.publish(OrderPlaced(order_id=1))
    lease = await box.claim_one()
    await box.begin(lease)
    box.advance(31 * SECOND)
    await box.decide_expired()
    return box, lease


async def resolved(box: OutboxHarness, lease: Lease, as_: Resolution) -> set[int]:
    async with box.relay.pool.connection() as conn:
        return await resolve(conn, box.app, [lease.delivery_id], as_, actor="anna", why="asked")


async def state_of(box: OutboxHarness, lease: Lease) -> tuple[str, str]:
    async with box.relay.pool.connection() as conn:
        found = await explain(conn, box.app, lease.delivery_id, now=box.clock.sql_now())
    assert found is not None
    return found.state, found.reason


async def test_a_person_says_that_it_arrived(opened: Opened, rows: Rows) -> None:
    """It ends as its own attempt would have ended it, with who said so."""
    receiver = Receiver()
    box, lease = await unknown_order(opened, receiver.handler())
    async with box.relay.pool.connection() as conn:
        listed = await list_unknown(conn, handler="mailer", limit=10)

    assert await resolved(box, lease, Resolution.DELIVERED) == {lease.delivery_id}
    assert [(row["delivery_id"], row["reason"]) for row in listed] == [
        (lease.delivery_id, "lease_lost_after_begin")
    ]
    assert receiver.outcomes == [Unknown("lease_lost_after_begin"), Done()]
    ((operation, *act),) = rows(
        "select id, actor, action, why, selection ->> 'as' from outbox.operation"
        " order by id desc limit 1"
    )
    assert act == ["anna", "resolve", "asked", "delivered"]
    assert rows(LAST) == [("done", None, f"operation:{operation}")]
    assert not await box.settle(lease, Done())  # its own answer comes too late
    assert (await box.census()).done == 1
    assert await resolved(box, lease, Resolution.DELIVERED) == set()


async def test_a_person_says_that_it_did_not_arrive(opened: Opened, rows: Rows) -> None:
    """It is due again, the attempt is spent, and its own late answer settles nothing."""
    receiver = Receiver()
    box, lease = await unknown_order(opened, receiver.handler())

    assert await resolved(box, lease, Resolution.NOT_DELIVERED) == {lease.delivery_id}
    assert not await box.settle(lease, Done())
    assert receiver.outcomes[1:] == [Retry(0 * SECOND, "resolved_not_delivered")]
    receiver.hangs_up = False
    await box.drain()

    assert [(call.number, call.resend) for call in receiver.calls] == [(2, False)]
    assert rows(LAST)[0][0] == "done"


async def test_nobody_decides_where_the_tables_could_not_be_told(opened: Opened) -> None:
    box, lease = await unknown_order(opened, Receiver().handler())
    async with box.relay.pool.connection() as conn:
        with pytest.raises(HandlerMissing, match="--app module:attribute"):
            await resolve(conn, made(), [lease.delivery_id], Resolution.DELIVERED, actor="anna")

    assert (await box.census()).unknown == 1


@pytest.mark.parametrize(
    ("answer", "outcome", "last"),
    [
        (Answer.DELIVERED, Done(), "done"),
        (Answer.NOT_DELIVERED, Retry(10 * SECOND, "probe_not_delivered"), "retry"),
    ],
)
async def test_what_the_receiver_knows_settles_the_call(
    answer: Answer, outcome: Outcome, last: str, opened: Opened, rows: Rows
) -> None:
    receiver = Receiver(answer)
    box, lease = await unknown_order(opened, receiver.asking())
    early = await ask_due(box.lane("mailer"))
    box.advance(10 * SECOND)
    await box.drain()

    assert (early, [one.delivery_id for one in receiver.asked]) == (0, [lease.delivery_id])
    assert receiver.outcomes == [Unknown("lease_lost_after_begin"), outcome]
    assert rows(LAST)[0][0] == last
    assert rows("select count(*) from outbox.question") == [(0,)]
    if answer is Answer.NOT_DELIVERED:
        receiver.hangs_up = False
        box.advance(10 * SECOND)
        await box.drain()
        assert [(call.number, call.resend) for call in receiver.calls] == [(2, False)]


async def test_a_receiver_that_cannot_tell_is_asked_less_often_and_at_last_no_more(
    opened: Opened, rows: Rows
) -> None:
    receiver = Receiver(Answer.CANNOT_KNOW, OSError("someone@example.org"))
    box, lease = await unknown_order(opened, receiver.asking())
    states = [await state_of(box, lease)]
    for wait in (10, 60, 3600):
        box.advance(wait * SECOND)
        await box.drain()
        states.append(await state_of(box, lease))

    assert len(receiver.asked) == 2
    assert [state for state, _ in states] == ["probing", "probing", "unknown", "unknown"]
    assert "asked 1 times (cannot_know)" in states[1][1]
    assert "could not tell (OSError)" in states[3][1]
    assert rows("select asked, due_at, last_answer from outbox.question") == [(2, None, "OSError")]
    assert await box.settle(lease, Done())  # its own answer still counts


async def test_a_question_that_kills_its_worker_is_asked_again_and_ends(
    opened: Opened, rows: Rows
) -> None:
    """What was taken and never answered falls due by itself, counted."""
    receiver = Receiver()
    box, lease = await unknown_order(opened, receiver.asking())
    box.advance(10 * SECOND)
    for _ in range(2):
        rows(
            "update outbox.question set token = gen_random_uuid(), asked = asked + 1,"
            " due_at = due_at + interval '30 seconds'"
        )  # as claimed by a worker that died
        assert await ask_due(box.lane("mailer")) == 0
        box.advance(30 * SECOND)
    await box.drain()

    assert receiver.asked == []
    assert rows("select due_at, last_answer from outbox.question") == [(None, "never_answered")]
    assert (await state_of(box, lease))[0] == "unknown"


async def test_an_answer_after_somebody_acted_settles_nothing(opened: Opened, rows: Rows) -> None:
    receiver = Receiver()
    asking, acted = asyncio.Event(), asyncio.Event()

    async def ask(message: OrderPlaced, attempt: Attempt) -> Answer:
        del message, attempt
        asking.set()
        await acted.wait()
        return Answer.DELIVERED

    probe = Probe(ask, backoff=Ladder((10,)))
    handler = receiver.handler(unknown=UnknownPolicy.PROBE, probe=probe)
    box, lease = await unknown_order(opened, handler)
    box.advance(10 * SECOND)
    task = asyncio.create_task(ask_due(box.lane("mailer")))
    await asyncio.wait_for(asking.wait(), 20)
    await resolved(box, lease, Resolution.NOT_DELIVERED)
    acted.set()

    assert await task == 1
    assert receiver.outcomes[1:] == [Retry(0 * SECOND, "resolved_not_delivered")]
    assert rows("select unknown_at, lease_token from outbox.delivery") == [(None, None)]


async def test_a_paused_receiver_is_not_asked(opened: Opened, rows: Rows) -> None:
    receiver = Receiver(Answer.DELIVERED)
    box, _ = await unknown_order(opened, receiver.asking())
    rows("update outbox.destination set paused_at = now()")
    box.advance(10 * SECOND)
    await box.drain()
    assert receiver.asked == []
    rows("update outbox.destination set paused_at = null")
    await box.drain()

    assert len(receiver.asked) == 1


async def test_a_relay_asks_by_itself(opened: Opened, rows: Rows) -> None:
    """Beside its own work: while the receiver thinks, other deliveries go out."""
    receiver = Receiver()
    asked, answered = asyncio.Event(), asyncio.Event()

    async def ask(message: OrderPlaced, attempt: Attempt) -> Answer:
        del message, attempt
        asked.set()
        await answered.wait()
        return Answer.DELIVERED

    handler = receiver.handler(unknown=UnknownPolicy.PROBE, probe=Probe(ask, backoff=Ladder((10,))))
    box, _ = await unknown_order(opened, handler)
    box.advance(10 * SECOND)
    receiver.hangs_up = False
    stop, served = asyncio.Event(), asyncio.Event()

    async def record(conn: Any, settled: Sequence[Settled]) -> None:
        await receiver.record(conn, settled)
        if any(isinstance(one.outcome, Done) for one in settled):
            served.set()

    object.__setattr__(handler, "record", record)
    running = asyncio.create_task(box.relay.run(stop))
    await asyncio.wait_for(asked.wait(), 20)
    await box.publish(OrderPlaced(order_id=2))
    await asyncio.wait_for(served.wait(), 20)
    answered.set()
    stop.set()
    await running

    assert [call.number for call in receiver.calls] == [1]
    assert rows("select count(*) from outbox.delivery") == [(0,)]


async def test_a_policy_may_differ_from_message_to_message(opened: Opened) -> None:
    """What is sent once more is told as a retry; the rest is held."""
    receiver = Receiver()

    async def choose(conn: Any, unknown: Sequence[Settled]) -> Mapping[int, UnknownPolicy]:
        assert (await (await conn.execute("select 1")).fetchone()) is not None
        return {
            one.delivery_id: UnknownPolicy.RESEND_ONCE
            for one in unknown
            if isinstance(one.message, OrderPlaced) and one.message.order_id % 2
        }

    box = await opened(receiver.handler(unknown=choose))
    for number in (1, 2):
        await box.publish(OrderPlaced(order_id=number))
    await box.run_once()
    told = {one.message.model_dump()["order_id"]: one.outcome for one in receiver.told}
    receiver.hangs_up = False
    await box.drain()

    assert told == {1: Retry(0 * SECOND, "hung_up"), 2: Unknown("hung_up")}
    assert [call.resend for call in receiver.calls] == [False, False, True]
    census = await box.census()
    assert (census.done, census.unknown) == (1, 1)


async def test_a_policy_that_fails_holds(opened: Opened) -> None:
    """What became unknown is kept, whatever the choice raises, and whatever it did to the rest."""
    receiver = Receiver()

    async def choose(conn: Any, unknown: Sequence[Settled]) -> Mapping[int, UnknownPolicy]:
        del unknown
        await conn.execute("select 1 / 0")
        return {}

    box = await opened(receiver.handler(unknown=choose))
    await box.publish(OrderPlaced(order_id=1))
    await box.drain()

    assert (await box.census()).unknown == 1
    assert receiver.outcomes == [Unknown("hung_up")]


@pytest.mark.parametrize("effect", [Effect.DATABASE, Effect.IDEMPOTENT])
async def test_a_record_that_always_refuses_ends_held_and_told(
    effect: Effect, opened: Opened, rows: Rows
) -> None:
    """Its effect is not repeated for ever, and its neighbours are settled."""
    calls: list[int] = []

    async def record(conn: Any, settled: Sequence[Settled]) -> None:
        del conn
        if any(one.message.model_dump()["order_id"] == 2 for one in settled):
            raise ValueError("someone@example.org")

    async def call(message: OrderPlaced, attempt: Attempt, *conn: Any) -> Outcome:
        del attempt, conn
        calls.append(message.order_id)
        return Done()

    box = await opened(mailer(call, effect=effect, record=record, lone_claims_max=2))
    for number in (1, 2, 3):
        await box.publish(OrderPlaced(order_id=number))
    for _ in range(6):
        await box.drain()
        box.advance(MINUTE)
    ((delivery,),) = rows("select id from outbox.delivery")
    census = await box.census()

    assert (census.done, census.unknown, census.dead) == (2, 1, 0)
    assert calls.count(2) == (3 if effect is Effect.IDEMPOTENT else 4)  # once more in its batch
    assert rows(LAST)[0][:2] == ("unknown", "record_refused:ValueError")
    async with box.relay.pool.connection() as conn:
        found = await explain(conn, box.app, delivery, now=box.clock.sql_now())
    assert found is not None
    assert "`record` refuses its settlement (record_refused:ValueError)" in found.reason


async def test_a_record_that_refuses_one_keeps_no_other_from_its_end(
    opened: Opened, rows: Rows
) -> None:
    """Expired and poisoned ones are decided together only where `record` lets them."""
    told: list[Any] = []

    async def record(conn: Any, settled: Sequence[Settled]) -> None:
        del conn
        for one in settled:
            if one.message.model_dump()["order_id"] % 2:
                raise ValueError
        told.extend((one.delivery_id, one.outcome) for one in settled)

    box = await opened(mailer(effect=Effect.AMBIGUOUS, record=record, lone_claims_max=1))
    for number in range(4):
        await box.publish(OrderPlaced(order_id=number))
    leases = await box.claim("mailer")
    await box.begin(*leases[:2])
    box.advance(31 * SECOND)
    for _ in range(2):
        assert await box.claim_alone() is not None
    box.advance(31 * SECOND)
    await box.decide_expired()

    ids = [lease.delivery_id for lease in leases]
    assert told == [(ids[0], Unknown("lease_lost_after_begin")), (ids[2], Dead("poison"))]
    assert rows(
        "select id, last_reason from outbox.delivery where unknown_at is not null order by id"
    ) == [
        (ids[0], "lease_lost_after_begin"),
        (ids[1], "record_refused:ValueError"),
        (ids[3], "record_refused:ValueError"),
    ]
