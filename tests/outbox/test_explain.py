"""P11: `outbox explain` names the one reason that keeps a delivery, each of them provoked."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from outbox import (
    AfterDead,
    Attempt,
    CredentialsRejected,
    Dead,
    DestinationHeld,
    Done,
    Effect,
    Order,
    Outcome,
    Retry,
    Unknown,
)
from outbox.explain import explain, explain_message
from outbox.queries import note_batch
from outbox.queries_letters import Selection
from outbox.redrive import redrive, set_paused
from outbox.saga.postgres import PostgresStore
from tests.outbox.shop import MINUTE, SECOND, OrderPlaced, StockChanged, Unheard, mailer, nothing

if TYPE_CHECKING:
    import pytest

    from outbox.explain import Explanation
    from outbox.redrive import Redrive
    from outbox.testing import OutboxHarness
    from tests.outbox.conftest import Opened, Rows

ALIVE = "insert into outbox.relay values ('far:1:a', now(), now(), %s, null)"
WORKS = """
insert into outbox.worker (id, handler, queue, reads, ticket_max, slots, started_at, seen_at)
values (%s, 'mailer', 'queue', '{}', 1, 1, now(), now())
"""


async def shows_itself(box: OutboxHarness) -> None:
    """Let the relay of `box` say that it lives."""
    async with box.relay.pool.connection() as conn:
        await box.relay._beat(conn)


async def told(box: OutboxHarness, delivery_id: int) -> Explanation:
    async with box.relay.pool.connection() as conn:
        found = await explain(conn, box.app, delivery_id, now=box.clock.sql_now())
    assert found is not None
    return found


async def one(box: OutboxHarness, rows: Rows, **terms: Any) -> int:
    """Publish an order; the id of its one delivery."""
    receipt = await box.publish(OrderPlaced(order_id=1), **terms)
    ((found,),) = rows("select id from outbox.delivery where message_id = %s", receipt.message_id)
    return int(found)


async def test_due_later(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer())
    delivery = await one(box, rows, due_at=box.clock.now() + timedelta(days=1))

    found = await told(box, delivery)

    assert found.state == "due later"
    assert f"{box.clock.now() + timedelta(days=1):%Y-%m-%d %H:%M:%S}" in found.reason


async def test_waiting_for_its_next_attempt(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer())
    delivery = await one(box, rows)
    await box.settle(await box.claim_one(), Retry(MINUTE, "busy"))

    found = await told(box, delivery)

    assert found.state == "due later"
    assert found.reason.endswith("after attempt 1 (busy)")
    assert [receipt["outcome"] for receipt in found.receipts] == ["retry"]


async def test_behind_the_head_of_its_key_with_the_heads_own_reason(
    opened: Opened, rows: Rows
) -> None:
    box = await opened(mailer(order=Order.KEYED))
    head = await one(box, rows, key="key-of-somebody")
    await one(box, rows, key="key-of-somebody")
    last = await one(box, rows, key="key-of-somebody")
    await box.settle(await box.claim_one(), Retry(MINUTE, "busy"))

    found = await told(box, last)

    assert found.state == "behind"
    assert f"delivery {head} of the same key goes first; that one: due later" in found.reason
    assert "(busy)" in found.reason


async def test_behind_a_call_in_flight_where_only_the_newest_counts(
    opened: Opened, rows: Rows
) -> None:
    box = await opened(mailer(order=Order.NEWEST))
    rows(ALIVE, ["mailer"])
    first = await one(box, rows, key="k")
    lease = await box.claim_one()
    second = await one(box, rows, key="k")
    third = await one(box, rows, key="k")
    behind = await told(box, third)
    await box.settle(lease, Done())
    overtaken = await told(box, second)

    assert behind.state == "behind"
    assert f"delivery {first} of the same key goes first; that one: leased" in behind.reason
    assert overtaken.state == "overtaken"
    assert f"delivery {third}" in overtaken.reason
    assert (await told(box, third)).state == "due"


async def test_behind_a_dead_letter_that_blocks_its_key(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer(order=Order.KEYED, after_dead=AfterDead.BLOCK))
    dead = await one(box, rows, key="k")
    next_ = await one(box, rows, key="k")
    await box.settle(await box.claim_one(), Dead("refused"))

    found = await told(box, next_)

    assert found.state == "blocked by a dead letter"
    assert f"dead letter {dead} of the same key" in found.reason


async def test_a_key_in_other_hands(opened: Opened, rows: Rows) -> None:
    """A relay that died between the lease of a key and that of its deliveries."""
    box = await opened(mailer(order=Order.KEYED))
    delivery = await one(box, rows, key="k")
    until = box.clock.now() + 30 * SECOND
    rows("insert into outbox.key_lease values ('mailer', 'k', gen_random_uuid(), %s)", until)

    found = await told(box, delivery)

    assert found.state == "behind"
    assert f"in a relay's hands until {until:%Y-%m-%d %H:%M:%S}" in found.reason


async def test_destination_held_with_the_cause(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer())
    delivery = await one(box, rows)
    error = DestinationHeld("slow_down", 90 * SECOND)
    await box.settle(
        await box.claim_one(), Retry(90 * SECOND, "slow_down", spent=False), error=error
    )

    found = await told(box, delivery)

    assert found.state == "held"
    assert f"{box.clock.now() + 90 * SECOND:%H:%M:%S}" in found.reason
    assert "(slow_down)" in found.reason


async def test_a_hold_that_ends_before_its_due_date_is_not_the_reason(
    opened: Opened, rows: Rows
) -> None:
    box = await opened(mailer())
    delivery = await one(box, rows, due_at=box.clock.now() + timedelta(days=1))
    rows("update outbox.destination set held_until = %s", box.clock.now() + MINUTE)

    assert (await told(box, delivery)).state == "due later"


async def test_credentials_circuit_open(opened: Opened, rows: Rows) -> None:
    async def check() -> None:
        raise CredentialsRejected("expired")

    async def call(message: Any, attempt: Attempt) -> Outcome:
        del message, attempt
        raise CredentialsRejected("expired")

    box = await opened(mailer(call, check=check))
    delivery = await one(box, rows)
    await box.drain()

    found = await told(box, delivery)

    assert found.state == "circuit open"
    assert "(expired)" in found.reason


async def test_paused_by_whom_and_why(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer())
    delivery = await one(box, rows)
    async with box.relay.pool.connection() as conn:
        await set_paused(conn, handler="mailer", paused=True, actor="ada", why="new certificate")

    found = await told(box, delivery)

    assert found.state == "paused"
    assert "paused by ada: new certificate" in found.reason


async def test_leased_by_which_relay_until_when(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer())
    delivery = await one(box, rows)
    lease = await box.claim_one()
    dead = await told(box, delivery)
    rows(WORKS, box.relay.name)
    worker = await told(box, delivery)
    rows("delete from outbox.worker")
    await shows_itself(box)

    relay = await told(box, delivery)

    assert dead.state == worker.state == relay.state == "leased"
    assert f"relay {box.relay.name} until {lease.until:%Y-%m-%d %H:%M:%S}" in relay.reason
    assert f"being tried by worker {box.relay.name} until" in worker.reason
    assert f"taken by {box.relay.name} until" in dead.reason
    assert "no live relay or worker" in dead.reason
    assert dead.reason.endswith("if it settles nothing by then, it is claimed alone")


async def test_a_suspect_that_another_process_tries_alone(opened: Opened, rows: Rows) -> None:
    """Such a process shows itself nowhere, and is no dead relay."""
    box, other = await opened(mailer()), await opened(mailer())
    delivery = await one(box, rows)
    await box.claim_one()
    other.clock.set(box.advance(MINUTE))
    await shows_itself(box)
    await other.claim_alone()

    found = await told(box, delivery)

    assert found.state == "leased"
    assert f"being tried alone by process {other.relay.name} until" in found.reason
    assert found.reason.endswith("for time 1")


async def test_in_a_batch_that_is_held_by_its_locks(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer())
    delivery = await one(box, rows)
    async with box.relay.pool.connection() as conn:
        await note_batch(conn, box.lane("mailer").claims.terms(10), [delivery])

    found = await told(box, delivery)
    await shows_itself(box)
    live = await told(box, delivery)
    box.advance(MINUTE)
    lost = await told(box, delivery)

    assert found.state == "leased"
    assert f"in a batch: taken by {box.relay.name} until" in found.reason
    assert f"in a batch: being tried by relay {box.relay.name} until" in live.reason
    assert lost.state == "suspect"


async def test_begun_and_then_without_its_lease(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer(effect=Effect.AMBIGUOUS))
    delivery = await one(box, rows)
    await box.begin(await box.claim_one())
    begun = await told(box, delivery)
    box.advance(MINUTE)
    expired = await told(box, delivery)

    assert begun.state == "begun"
    assert box.relay.name in begun.reason
    assert expired.state == "lease expired"
    assert "marks it unknown" in expired.reason


async def test_unknown_and_held(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer(effect=Effect.AMBIGUOUS))
    delivery = await one(box, rows)
    await box.settle(await box.claim_one(), Unknown("timeout"))

    found = await told(box, delivery)

    assert found.state == "unknown"
    assert "(timeout)" in found.reason


async def test_a_suspect_to_be_claimed_alone(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer())
    delivery = await one(box, rows)
    await box.claim_one()
    box.advance(MINUTE)
    first = await told(box, delivery)
    await box.claim_alone()
    box.advance(MINUTE)
    second = await told(box, delivery)

    assert first.state == second.state == "suspect"
    assert "not yet" in first.reason
    assert "so far 1 times" in second.reason


async def test_no_live_relay(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer())
    delivery = await one(box, rows)

    dark = await told(box, delivery)
    rows(ALIVE, ["mailer"])

    assert dark.state == "no relay"
    assert (await told(box, delivery)).state == "due"


async def test_a_handler_nobody_has_any_more(opened: Opened, rows: Rows) -> None:
    """Another program's relay may have it; then it is no reason."""
    box = await opened(mailer())
    delivery = await one(box, rows)
    rows("update outbox.delivery set handler = 'postman'")

    nobody = await told(box, delivery)
    rows(ALIVE, ["postman"])

    assert nobody.state == "no handler"
    assert "'postman'" in nobody.reason
    assert (await told(box, delivery)).state == "due"


async def test_a_message_version_this_program_cannot_read(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer())
    rows(ALIVE, ["mailer"])
    delivery = await one(box, rows)
    rows("update outbox.message set version = 7")
    await box.drain()

    found = await told(box, delivery)

    assert found.state == "version unreadable"
    assert "order.placed version 7" in found.reason


async def test_dead_and_done_and_withdrawn(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer())
    dead, done, gone = [await one(box, rows) for _ in range(3)]
    leases = {lease.delivery_id: lease for lease in await box.claim("mailer", limit=2)}
    await box.settle(leases[dead], Dead("refused"))
    await box.settle(leases[done], Done({"ticket": "content-of-a-receipt"}))
    rows("delete from outbox.delivery where id = %s", gone)
    rows(
        "insert into outbox.receipt (delivery_id, message_id, handler, attempt, outcome, reason,"
        " settled_at) select %s, max(id), 'mailer', 0, 'withdrawn', 'taken_back', now()"
        " from outbox.message",
        gone,
    )

    found = [await told(box, delivery) for delivery in (dead, done, gone)]

    assert [each.state for each in found] == ["dead", "done", "withdrawn"]
    assert "(refused)" in found[0].reason
    assert f"--delivery {dead}" in found[0].reason
    assert "(taken_back)" in found[2].reason


async def buried(opened: Opened, rows: Rows, count: int = 3) -> tuple[OutboxHarness, list[int]]:
    """Dead letters that failed alike, and a relay that could take them."""
    box = await opened(mailer())
    ids = [await one(box, rows) for _ in range(count)]
    for lease in await box.claim("mailer"):
        await box.settle(lease, Dead("refused"))
    rows(ALIVE, ["mailer"])
    return box, ids


async def raised(box: OutboxHarness, **terms: Any) -> Redrive:
    async with box.relay.pool.connection() as conn:
        return await redrive(conn, box.app, Selection(), actor="anna", **terms)


async def test_dead_with_how_many_alike_and_what_raises_it(opened: Opened, rows: Rows) -> None:
    box, (first, *_) = await buried(opened, rows)
    ((group,),) = rows("select distinct failure_group from outbox.dead_letter")

    found = await told(box, first)

    assert (found.state, found.reason) == (
        "dead",
        (
            f"given up after 1 attempts (refused), 3 of failure group {group}; "
            f"`outbox redrive --delivery {first}` raises it"
        ),
    )


async def test_dead_and_taken_back_by_its_publisher(opened: Opened, rows: Rows) -> None:
    box, (first, *_) = await buried(opened, rows)
    ((message,),) = rows("select message_id from outbox.dead_letter where delivery_id = %s", first)
    async with box.relay.pool.connection() as conn, conn.transaction():
        await PostgresStore(conn, box.app).withdraw([message], reason="taken_back")

    found = await told(box, first)

    at = f"{box.clock.now():%Y-%m-%d %H:%M:%S}"
    assert found.state == "dead"
    assert f"its publisher took it back at {at}" in found.reason
    assert "no redrive raises it" in found.reason


async def test_under_a_redrive_that_waits_for_its_canary(opened: Opened, rows: Rows) -> None:
    box, (first, second, _) = await buried(opened, rows)
    begun = await raised(box, canary=True)

    canary, behind = await told(box, first), await told(box, second)

    assert (canary.state, behind.state) == ("due", "dead")
    assert canary.reason == "due now, redriven by anna; a relay will claim it"
    assert behind.reason.endswith(
        f"operation {begun.operation_id} is to redrive it; its canary is delivery {first}"
    )


async def test_redriven_at_a_pace(opened: Opened, rows: Rows) -> None:
    """Those that are raised wait for their second."""
    box, (first, second, last) = await buried(opened, rows)
    await raised(box, pace=1)

    found = [await told(box, delivery) for delivery in (first, second, last)]

    at = box.clock.now() + 2 * SECOND
    assert [each.state for each in found] == ["due", "due later", "due later"]
    assert found[2].reason.startswith(f"due at {at:%Y-%m-%d %H:%M:%S}")
    assert found[2].reason.endswith(", redriven by anna")


async def test_under_a_redrive_that_is_not_there_yet(
    opened: Opened, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command ended after its first step; relays carry on."""
    monkeypatch.setattr("outbox.redrive.RAISED_MAX", 1)
    box, (*_, last) = await buried(opened, rows)
    begun = await raised(box, pace=1)

    found = await told(box, last)

    assert found.state == "dead"
    assert found.reason.endswith(f"operation {begun.operation_id} is to redrive it")


async def test_redriven_and_tried_again(opened: Opened, rows: Rows) -> None:
    """What failed last says more than who raised it."""
    box, (first, *_) = await buried(opened, rows, 1)
    await raised(box)
    await box.settle(await box.claim_one(), Retry(MINUTE, "busy"))

    found = await told(box, first)

    assert found.state == "due later"
    assert found.reason.endswith("after attempt 1 (busy)")
    assert [one["outcome"] for one in found.receipts] == ["dead", "redriven", "retry"]


async def test_a_message_is_explained_by_its_deliveries_or_the_lack_of_a_route(
    opened: Opened,
) -> None:
    box = await opened(mailer(), mailer(nothing, name="ledger"), mailer(
        nothing, name="shelf", messages=(StockChanged,)
    ))  # fmt: skip
    two = await box.publish(OrderPlaced(order_id=1))
    none = await box.publish(Unheard())
    await box.run_once("ledger")
    async with box.relay.pool.connection() as conn:
        now = box.clock.sql_now()
        found = await explain_message(conn, box.app, two.message_id, now=now)
        parked = await explain_message(conn, box.app, none.message_id, now=now)
        missing = await explain_message(conn, box.app, 10**12, now=now)

    assert found is not None
    assert parked is not None
    assert sorted(each.state for each in found) == ["done", "no relay"]
    assert [each.state for each in parked] == ["unrouted"]
    assert "tree.fallen" in parked[0].reason
    assert missing is None


async def test_neither_key_nor_payload_nor_receipt_is_told(opened: Opened, rows: Rows) -> None:
    """P12: what a key or a receipt holds is the application's, and may be somebody's."""
    box = await opened(mailer(order=Order.KEYED))
    message = OrderPlaced(order_id=1, note="payload-marker")
    receipt = await box.publish(message, key="key-marker")
    await box.publish(message, key="key-marker")
    waiting, behind = (row[0] for row in rows("select id from outbox.delivery order by id"))
    shown = [await told(box, waiting), await told(box, behind)]
    await box.settle(await box.claim_one(), Done({"ticket": "receipt-marker"}))
    shown.append(await told(box, waiting))
    async with box.relay.pool.connection() as conn:
        shown += await explain_message(conn, box.app, receipt.message_id) or []

    text = json.dumps([[each.reason, each.facts, each.receipts] for each in shown], default=str)

    assert len(shown) == 4
    assert "marker" not in text
