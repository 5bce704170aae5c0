"""P2: a message that kills its workers ends dead, and its neighbours are delivered."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from psycopg_pool import PoolTimeout

from outbox import Dead, Done, Effect, Retry, RetryPolicy, Rule, Settled, Then
from tests.outbox.shop import SECOND, OrderPlaced, mailer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outbox import Attempt, Outcome
    from tests.outbox.conftest import Opened, Rows


async def test_only_lone_claims_count_and_too_many_end_dead(opened: Opened) -> None:
    told: list[Settled] = []

    async def record(conn: Any, settled: Sequence[Settled]) -> None:
        del conn
        told.extend(settled)

    box = await opened(mailer(record=record, lone_claims_max=2))
    await box.publish(OrderPlaced(order_id=1))
    await box.claim_one()
    for _ in range(2):  # two lone claims, and nobody settles
        box.advance(31 * SECOND)
        await box.decide_expired()
        assert await box.claim_alone() is not None
    box.advance(31 * SECOND)
    await box.decide_expired()

    assert await box.claim_alone() is None
    assert (await box.census()).dead == 1
    assert [one.outcome for one in told] == [Dead("poison")]


async def test_a_suspect_that_settles_is_a_suspect_no_more(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer())
    await box.publish(OrderPlaced(order_id=1))
    await box.claim_one()
    box.advance(31 * SECOND)
    lease = await box.claim_alone()
    assert lease is not None
    await box.settle(lease, Retry(10 * SECOND, "busy"))

    assert rows("select lone_claims from outbox.delivery") == [(0,)]


async def test_suspects_run_one_by_one_and_neighbours_are_delivered(opened: Opened) -> None:
    box = await opened(mailer())
    for number in range(5):
        await box.publish(OrderPlaced(order_id=number))
    assert len(await box.claim("mailer")) == 5  # and crash
    box.advance(31 * SECOND)
    await box.drain()

    assert (await box.census()).done == 5


async def test_a_lone_run_waits_for_neighbours_and_keeps_them_out(opened: Opened) -> None:
    """A killer must not take a batch of this process along."""
    box = await opened(mailer(), mailer(name="ledger"))
    await box.publish(OrderPlaced(order_id=1))
    await box.claim("mailer")
    box.advance(31 * SECOND)
    gate = box.lane("ledger").gate

    await gate.enter_alone()
    batch = asyncio.create_task(box.run_once("ledger"))
    await box.census("ledger")  # a round trip: the batch had its chance
    kept_out = not batch.done() and (await box.census("ledger")).leased == 0
    await gate.leave_alone()

    assert kept_out  # and it holds no lease that could run out while it waits
    assert await batch == 1


async def test_a_lone_claim_given_back_counts_nothing(opened: Opened, rows: Rows) -> None:
    """A version that this code cannot read is left to a newer relay, however often."""
    box = await opened(mailer(lone_claims_max=1))
    rows("""select outbox.publish('order.placed', '{"order": 1}', version => 2)""")
    await box.claim("mailer")
    box.advance(31 * SECOND)
    await box.lane("mailer").clean_up()

    assert rows("select lone_claims, lease_token, attempts from outbox.delivery") == [(0, None, 0)]


async def test_what_is_too_large_for_memory_may_be_named_in_the_policy(opened: Opened) -> None:
    """A handler that knows it needs not its process ended for that."""

    async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del message, attempt
        raise MemoryError

    policy = RetryPolicy(table=(Rule(MemoryError, Then.DEAD),))
    box = await opened(mailer(call, retry=policy))
    await box.publish(OrderPlaced(order_id=1))
    await box.drain()

    assert (await box.census()).dead == 1


@pytest.mark.parametrize("effect", [Effect.IDEMPOTENT, Effect.DATABASE])
async def test_a_lone_claim_lost_to_an_outage_counts_nothing(
    effect: Effect, opened: Opened, rows: Rows
) -> None:
    """Each settlement of its lone run loses its connection; its worker lives: no burial."""
    losses = 0

    async def cut(conn: Any, settled: Sequence[Settled]) -> None:
        nonlocal losses
        if losses and all(isinstance(one.outcome, Done) for one in settled):
            losses -= 1
            rows("select pg_terminate_backend(%s, 5000)", conn.info.backend_pid)

    async def call(message: OrderPlaced, attempt: Attempt, *conn: Any) -> Outcome:
        del message, attempt, conn
        return Done()

    box = await opened(mailer(call, effect=effect, record=cut, lone_claims_max=1))
    await box.publish(OrderPlaced(order_id=1))
    await box.claim_one()
    counts = []
    for _ in range(3):
        box.advance(31 * SECOND)
        losses = 3 if effect is Effect.IDEMPOTENT else 1  # a write is repeated, a transaction not
        await box.lane("mailer").clean_up()
        counts += rows("select lone_claims, lease_token is not null from outbox.delivery")
    box.advance(31 * SECOND)
    await box.drain()

    assert counts == [(0, True)] * 3
    assert (await box.census()).done == 1


async def test_a_lone_claim_counts_nothing_where_the_outage_outlasts_it(
    opened: Opened, rows: Rows
) -> None:
    """It cannot even be uncounted at once: what was lost is remembered until it can."""
    async with AsyncExitStack() as taken:

        async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
            del message, attempt
            for _ in range(pool.max_size):
                await taken.enter_async_context(pool.connection())
            pool.timeout = 0.01
            return Done()

        box = await opened(mailer(call, lone_claims_max=1))
        pool, patience = box.relay.pool, box.relay.pool.timeout
        await box.publish(OrderPlaced(order_id=1))
        await box.claim_one()
        box.advance(31 * SECOND)
        for _ in range(2):  # the lone run, and a look while the database is still away
            with pytest.raises(PoolTimeout):
                await box.lane("mailer").clean_up()
    pool.timeout = patience
    await box.lane("mailer").tidy()

    assert rows("select lone_claims from outbox.delivery") == [(0,)]
