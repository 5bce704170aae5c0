"""P7 and P8: `Retry-After`, rejected credentials and a pause stop a destination, and it alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from outbox import (
    Attempt,
    CredentialsRejected,
    DestinationChange,
    DestinationHeld,
    Done,
    Effect,
    Outcome,
    inspection,
)
from outbox.cli.look import describe_destination
from outbox.queries_cluster import hold_destination
from outbox.redrive import set_paused
from tests.outbox.shop import MINUTE, SECOND, OrderPlaced, mailer

if TYPE_CHECKING:
    from outbox.testing import OutboxHarness
    from tests.outbox.conftest import Opened, Rows


@dataclass
class Destination:
    """Somebody outside who can be out of sorts; it keeps what was said about it."""

    trouble: Exception | None = None
    calls: int = 0
    checks: int = 0
    changes: list[DestinationChange] = field(default_factory=list)

    async def call(self, message: Any, attempt: Attempt) -> Outcome:
        del message, attempt
        self.calls += 1
        if self.trouble is not None:
            raise self.trouble
        return Done()

    async def check(self) -> None:
        self.checks += 1
        if self.trouble is not None:
            raise self.trouble

    async def changed(self, conn: Any, change: DestinationChange) -> None:
        await conn.execute(
            "insert into effect (delivery_id, note) values (%s, %s)",
            (len(self.changes), change.kind),
        )
        self.changes.append(change)

    @property
    def kinds(self) -> list[str]:
        return [change.kind for change in self.changes]


async def some_orders(box: OutboxHarness, count: int = 3) -> None:
    for number in range(count):
        await box.publish(OrderPlaced(order_id=number))


async def test_a_hold_stops_all_claims_of_its_handler_and_no_other(opened: Opened) -> None:
    slow = Destination(DestinationHeld("slow_down", 90 * SECOND))
    box = await opened(
        mailer(slow.call, concurrency=1, destination_changed=slow.changed), mailer(name="ledger")
    )
    await some_orders(box)
    await box.drain()
    calls = slow.calls
    slow.trouble = None
    box.advance(89 * SECOND)
    await box.drain()
    held = slow.calls
    box.advance(1 * SECOND)
    await box.drain()

    assert (calls, held, slow.calls) == (1, 1, 4)
    assert slow.kinds == ["held"]
    assert (await box.census("ledger")).done == 3


async def test_a_hold_spends_no_attempt_and_leaves_no_receipt(opened: Opened, rows: Rows) -> None:
    slow = Destination(DestinationHeld("slow_down", 90 * SECOND))
    box = await opened(mailer(slow.call))
    await some_orders(box)
    await box.drain()

    assert rows("select distinct attempts from outbox.delivery") == [(0,)]
    assert rows("select * from outbox.receipt") == []


async def test_a_hold_only_grows_and_is_capped_at_an_hour(opened: Opened, rows: Rows) -> None:
    until = "select extract(epoch from held_until - %s)::int from outbox.destination"
    slow = Destination(DestinationHeld("slow_down", timedelta(days=2)))
    box = await opened(mailer(slow.call))
    now = box.clock.now()
    await box.publish(OrderPlaced(order_id=1))
    lease = await box.claim_one()
    ended = DestinationHeld("slow_down", timedelta(days=2))
    await box.settle(lease, Done(), error=ended)
    longest = rows(until, now)
    await box.publish(OrderPlaced(order_id=2))
    rows("update outbox.destination set held_until = held_until - interval '1 s'")
    async with box.relay.pool.connection() as conn:
        shorter = await hold_destination(
            conn, handler="mailer", wait=MINUTE, reason="again", now=box.clock.sql_now()
        )

    assert longest == [(3600,)]
    assert shorter is None


@pytest.mark.parametrize("effect", [Effect.IDEMPOTENT, Effect.AMBIGUOUS])
async def test_rejected_credentials_open_the_circuit_once_and_spend_nothing(
    effect: Effect, opened: Opened, rows: Rows
) -> None:
    strict = Destination(CredentialsRejected("expired", "clock skew 412 s"))
    box = await opened(
        mailer(strict.call, check=strict.check, destination_changed=strict.changed, effect=effect)
    )
    await some_orders(box)
    await box.drain()
    calls = strict.calls
    await box.drain()

    assert calls == strict.calls == 1  # what it had in hand and had not begun goes back
    assert strict.kinds == ["credentials_rejected"]
    assert strict.changes[0].hint == "clock skew 412 s"
    assert rows("select distinct attempts from outbox.delivery") == [(0,)]
    assert rows("select * from outbox.receipt") == []


async def test_status_tells_of_a_hold_as_long_as_it_lasts(opened: Opened) -> None:
    """Its row keeps the end of the last one."""
    busy = Destination(DestinationHeld("quota", MINUTE))
    box = await opened(mailer(busy.call))
    await some_orders(box)
    await box.drain()
    async with box.relay.pool.connection() as conn:
        (state,) = await inspection.destinations(conn)
    now = box.clock.now()

    assert describe_destination(state, now) == f"held until {now + MINUTE:%H:%M:%S} (quota)"
    assert describe_destination(state, now + MINUTE) == "open"


async def test_the_circuit_closes_when_the_check_passes(opened: Opened, rows: Rows) -> None:
    strict = Destination(CredentialsRejected("expired"))
    box = await opened(mailer(strict.call, check=strict.check, destination_changed=strict.changed))
    await some_orders(box)
    await box.drain()
    box.advance(30 * SECOND)
    await box.drain()
    rejected_again = (strict.checks, strict.calls)
    strict.trouble = None
    await box.drain()
    too_early = strict.checks
    box.advance(30 * SECOND)
    await box.drain()

    assert rejected_again == (1, 1)
    assert (too_early, strict.checks) == (1, 2)
    assert strict.kinds == ["credentials_rejected", "credentials_accepted"]
    assert rows("select note from effect") == [("credentials_rejected",), ("credentials_accepted",)]
    assert (await box.census()).done == 3


async def test_a_check_that_breaks_leaves_the_circuit_open_and_the_relay_going(
    opened: Opened,
) -> None:
    strict = Destination(CredentialsRejected("expired"))
    box = await opened(mailer(strict.call, check=strict.check), mailer(name="ledger"))
    await some_orders(box)
    await box.drain()
    strict.trouble = OSError("someone@example.org")
    box.advance(30 * SECOND)
    await box.drain()

    assert strict.checks == 1
    assert (await box.census("mailer")).pending == 3


async def test_without_a_check_rejected_credentials_are_a_hold(opened: Opened) -> None:
    """Nobody could close its circuit: it asks again after a while."""
    strict = Destination(CredentialsRejected("expired"))
    box = await opened(mailer(strict.call, concurrency=1, destination_changed=strict.changed))
    await some_orders(box)
    await box.drain()
    strict.trouble = None
    box.advance(30 * SECOND)
    await box.drain()

    assert strict.kinds == ["held"]
    assert (await box.census()).done == 3


async def test_a_pause_stops_one_handler_in_every_process(opened: Opened) -> None:
    box = await opened(mailer(), mailer(name="ledger"))
    await some_orders(box)
    other = await opened(mailer(), mailer(name="ledger"))

    async def pause(*, paused: bool) -> bool:
        async with box.relay.pool.connection() as conn:
            return await set_paused(
                conn, handler="mailer", paused=paused, actor="operator", why="maintenance"
            )

    assert await pause(paused=True)
    await other.drain()
    meanwhile = (await box.census("mailer")).pending, (await box.census("ledger")).done
    await pause(paused=False)
    await other.drain()

    assert meanwhile == (3, 3)
    assert (await box.census("mailer")).done == 3


async def test_a_paused_handler_with_suspects_stops_nobody(opened: Opened, rows: Rows) -> None:
    """Only what may be tried makes the process wait for a lone run."""
    box = await opened(mailer())
    await some_orders(box, 1)
    await box.claim_one()
    rows("update outbox.destination set paused_at = now()")
    box.advance(MINUTE)
    lane = box.lane("mailer")
    await lane.gate.enter()  # somebody's call is under way; a lone run would wait for it

    assert await lane.clean_up() == 0
    await lane.gate.leave()
