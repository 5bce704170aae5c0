"""P11: a running relay proves that nothing waits in silence, and says so when it cannot."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from structlog.testing import capture_logs

from outbox import AfterDead, App, Dead, Effect, Order, Relay, Retry, Unknown, publish
from outbox.errors import UsageError
from outbox.queries_audit import AUDIT_FRONT, AUDIT_KEYS
from outbox.self_audit import KEYS_MAX, UNKNOWN_WINDOW, SelfAudit, Trouble
from outbox.testing import OutboxHarness
from tests.outbox.shop import MINUTE, SECOND, OrderPlaced, Unheard, made, mailer

if TYPE_CHECKING:
    from tests.outbox.conftest import Opened, Rows

HOUR = timedelta(hours=1)


async def found(box: OutboxHarness, audit: SelfAudit | None = None) -> list[Trouble]:
    async with box.relay.pool.connection() as conn:
        return await (audit or box.relay.vitals.audit).find(conn)


async def kinds(box: OutboxHarness) -> list[tuple[str, str, str | None]]:
    return [(one.kind, one.subject, one.reason) for one in await found(box)]


async def test_what_is_due_and_unblocked_is_overdue_after_a_minute(opened: Opened) -> None:
    box = await opened(mailer())
    await box.publish(OrderPlaced(order_id=1))
    box.advance(MINUTE)
    in_time = await found(box)
    box.advance(1 * SECOND)
    late = await found(box)
    await box.drain()

    assert in_time == []
    assert [(one.kind, one.subject) for one in late] == [("overdue", "mailer")]
    assert late[0].since == box.clock.now() - 61 * SECOND
    assert await found(box) == []


async def test_an_application_sets_its_own_terms(database: str) -> None:
    app = App("shop", clock=made().clock, due_age_max=10 * SECOND, blocked_max=20 * SECOND)
    app.add(mailer())
    async with OutboxHarness.opened(app, database) as box:
        await box.publish(OrderPlaced(order_id=1))
        box.advance(11 * SECOND)
        assert [one.kind for one in await found(box)] == ["overdue"]

    with pytest.raises(UsageError, match="due_age_max is 0:00:00"):
        App("shop", due_age_max=timedelta(0))


async def test_a_timer_counts_from_its_due_date(opened: Opened) -> None:
    box = await opened(mailer())
    await box.publish(OrderPlaced(order_id=1), due_at=box.clock.now() + HOUR)
    box.advance(HOUR + MINUTE)
    in_time = await found(box)
    box.advance(1 * SECOND)

    assert in_time == []
    assert [one.kind for one in await found(box)] == ["overdue"]


async def test_what_is_being_tried_is_not_overdue_and_what_was_forgotten_is(
    opened: Opened,
) -> None:
    """A lease that ran out a minute ago and that nobody looked after is nobody's."""
    box = await opened(mailer(timeout=MINUTE * 5))
    await box.publish(OrderPlaced(order_id=1))
    await box.claim_one()
    box.advance(5 * MINUTE)
    tried = await found(box)
    box.advance(MINUTE + 11 * SECOND)

    assert tried == []
    assert [one.kind for one in await found(box)] == ["overdue"]


async def test_a_closed_destination_is_told_after_an_hour_and_is_not_overdue(
    opened: Opened, rows: Rows
) -> None:
    box = await opened(mailer())
    rows("update outbox.destination set paused_at = %s, paused_by = 'ada'", box.clock.now())
    await box.publish(OrderPlaced(order_id=1))
    box.advance(HOUR)
    quiet = await kinds(box)
    box.advance(1 * SECOND)

    assert quiet == []
    assert await kinds(box) == [("blocked", "mailer", "paused")]


async def test_an_unknown_that_nobody_decides_is_told_after_an_hour(opened: Opened) -> None:
    box = await opened(mailer(effect=Effect.AMBIGUOUS))
    await box.publish(OrderPlaced(order_id=1))
    await box.settle(await box.claim_one(), Unknown("timeout"))
    box.advance(HOUR)
    quiet = await kinds(box)
    box.advance(1 * SECOND)

    assert quiet == []
    assert await kinds(box) == [("blocked", "mailer", "unknown")]


@pytest.mark.parametrize(
    ("outcome", "reason"), [(Unknown("timeout"), "unknown"), (Retry(2 * HOUR), "due later")]
)
async def test_behind_the_head_of_its_key_nothing_is_overdue_and_the_head_is_told(
    opened: Opened, outcome: Any, reason: str
) -> None:
    box = await opened(mailer(effect=Effect.AMBIGUOUS, order=Order.KEYED))
    for _ in range(3):
        await box.publish(OrderPlaced(order_id=1), key="k")
    await box.settle(await box.claim_one(), outcome)
    box.advance(10 * MINUTE)
    quiet = await kinds(box)
    box.advance(HOUR)

    assert quiet == []
    assert set(await kinds(box)) == {("blocked", "mailer", reason)}


async def test_a_key_that_a_dead_letter_blocks_is_told_and_not_overdue(opened: Opened) -> None:
    box = await opened(mailer(order=Order.KEYED, after_dead=AfterDead.BLOCK))
    for _ in range(2):
        await box.publish(OrderPlaced(order_id=1), key="k")
    await box.settle(await box.claim_one(), Dead("refused"))
    box.advance(HOUR + 1 * SECOND)

    assert await kinds(box) == [("blocked", "mailer", "blocked by a dead letter")]


async def test_the_head_of_another_key_is_found_behind_a_blocked_one(opened: Opened) -> None:
    """The oldest rows are all of the blocked key; the proof looks behind them."""
    box = await opened(mailer(effect=Effect.AMBIGUOUS, order=Order.KEYED))
    for _ in range(5):
        await box.publish(OrderPlaced(order_id=1), key="a")
    await box.settle(await box.claim_one(), Unknown("timeout"))
    free = await box.publish(OrderPlaced(order_id=1), key="b")
    box.advance(MINUTE + 1 * SECOND)

    (late,) = await found(box)

    assert late.kind == "overdue"
    async with box.relay.pool.connection() as conn:
        cursor = await conn.execute(
            "select message_id from outbox.delivery where id = %s", (late.delivery_id,)
        )
        assert await cursor.fetchone() == (free.message_id,)


async def test_keys_beyond_one_look_are_judged_by_the_next(opened: Opened) -> None:
    box = await opened(mailer(effect=Effect.AMBIGUOUS, order=Order.KEYED))
    for key in ("a", "b", "c"):
        await box.publish(OrderPlaced(order_id=1), key=key)
    for lease in await box.claim("mailer", limit=2):
        await box.settle(lease, Unknown("timeout"))
    box.advance(MINUTE + 1 * SECOND)
    audit = SelfAudit(box.app, {"mailer"}, keys_max=2)

    looks = [[one.kind for one in await found(box, audit)] for _ in range(5)]

    assert looks == [[], *[["overdue"]] * 4]


async def test_without_a_key_an_ordered_handlers_delivery_stands_for_itself(
    opened: Opened,
) -> None:
    box = await opened(mailer(effect=Effect.AMBIGUOUS, order=Order.KEYED))
    await box.publish(OrderPlaced(order_id=1), key="a")
    await box.settle(await box.claim_one(), Unknown("timeout"))
    await box.publish(OrderPlaced(order_id=1), key="a")
    await box.publish(OrderPlaced(order_id=2))
    box.advance(MINUTE + 1 * SECOND)

    assert [one.kind for one in await found(box)] == ["overdue"]


async def test_where_only_the_newest_counts_a_call_in_flight_blocks_and_nothing_else(
    opened: Opened,
) -> None:
    box = await opened(mailer(effect=Effect.AMBIGUOUS, order=Order.NEWEST))
    await box.publish(OrderPlaced(order_id=1), key="k")
    await box.settle(await box.claim_one(), Unknown("timeout"))
    await box.publish(OrderPlaced(order_id=1), key="k")
    box.advance(MINUTE + 1 * SECOND)
    blocked = await kinds(box)
    await box.publish(OrderPlaced(order_id=1), key="free")
    box.advance(MINUTE + 1 * SECOND)

    assert blocked == []
    assert await kinds(box) == [("overdue", "mailer", None)]


async def test_a_relay_answers_for_what_nobody_is_routed_to(opened: Opened) -> None:
    box = await opened(mailer())
    await box.publish(Unheard())
    box.advance(MINUTE)
    quiet = await kinds(box)
    box.advance(1 * SECOND)

    assert quiet == []
    assert await kinds(box) == [("unrouted", "tree.fallen", None)]


async def test_a_relay_answers_for_handlers_nobody_has_and_not_for_other_relays(
    opened: Opened, rows: Rows
) -> None:
    box = await opened(mailer(), mailer(name="ledger"))
    await box.publish(OrderPlaced(order_id=1))
    box.advance(MINUTE + 1 * SECOND)
    only_ledger = SelfAudit(box.app, {"ledger"})
    by_nobody = [(one.kind, one.subject, one.reason) for one in await found(box, only_ledger)]
    rows("update outbox.destination set paused_at = now() where handler = 'mailer'")
    paused = [one.subject for one in await found(box, only_ledger)]
    rows("update outbox.destination set paused_at = null")
    rows("insert into outbox.relay values ('far:1:b', now(), now(), '{mailer}', null)")
    by_another = [one.subject for one in await found(box, only_ledger)]
    rows("update outbox.delivery set handler = 'postman'")
    rows("update outbox.destination set handler = 'postman' where handler = 'mailer'")
    orphaned = await kinds(box)
    rows("update outbox.destination set application = 'other' where handler = 'postman'")
    of_another_application = await kinds(box)
    rows("update outbox.destination set application = null")
    rows("insert into outbox.relay values ('far:1:a', now(), now(), '{postman}', null)")

    assert by_nobody == [("overdue", "ledger", None), ("blocked", "mailer", "no relay")]
    assert paused == by_another == ["ledger"]
    assert orphaned == [("orphaned", "postman", None)]
    assert of_another_application == []
    assert await kinds(box) == []


async def test_trouble_is_told_once_a_minute_when_two_looks_saw_it_and_when_it_ends(
    opened: Opened,
) -> None:
    """What a long transaction published is old at once when it commits: no reason to shout."""
    box = await opened(mailer())
    audit = box.relay.vitals.audit

    async def look() -> list[str]:
        with capture_logs() as logs:
            async with box.relay.pool.connection() as conn:
                await audit.look(conn)
        return [line["event"] for line in logs]

    await box.publish(OrderPlaced(order_id=1))
    box.advance(MINUTE + 1 * SECOND)
    said = [await look(), await look(), await look()]
    box.advance(MINUTE)
    said.append(await look())
    await box.drain()
    said += [await look()]

    assert said == [[], ["delivery.overdue"], [], ["delivery.overdue"], ["trouble.ended"]]
    assert audit.troubles == ()


async def test_a_running_relay_audits_itself(database: str) -> None:
    app = App("shop")
    app.add(mailer())
    relay, stop = Relay(app, database), asyncio.Event()
    async with relay.opened():
        work = asyncio.create_task(relay.run(stop))
        async with asyncio.timeout(20):
            while relay.vitals.looked_at is None:  # noqa: ASYNC110 - nothing rings when it looks
                await asyncio.sleep(0)
        stop.set()
        await work

    assert relay.vitals.audit.troubles == ()


async def test_a_look_costs_the_same_beside_many_waiting_rows(database: str, rows: Rows) -> None:
    """Blocks read, as the server counts them: for plain queues, and for a hot and many keys."""
    app = made(mailer(), mailer(name="keyed", order=Order.KEYED))
    async with OutboxHarness.opened(app, database):
        pass
    with psycopg.connect(database) as conn:
        publish(conn, OrderPlaced(order_id=1))
    rows("update outbox.delivery set key = 'hot' where handler = 'keyed'")
    costs = []
    for many in (1_000, 30_000):
        rows(
            "insert into outbox.delivery (message_id, handler, key, position, due_at)"
            " select m.id, h, case when h = 'keyed' then 'hot' end, n,"
            " case when n %% 2 = 0 then now() - interval '2 hours' end"
            " from outbox.message as m, generate_series(1, %s) as n,"
            " unnest('{mailer,keyed}'::text[]) as h",
            many,
        )
        rows("vacuum analyze outbox.delivery")
        front = {"grace": MINUTE, "window": UNKNOWN_WINDOW, "now": None}
        key = {
            "handler": "keyed",
            "after": "",
            "headed": True,
            "blocks": True,
            **front,
            "window": KEYS_MAX,
        }
        costs.append(_blocks(database, AUDIT_FRONT, front) + _blocks(database, AUDIT_KEYS, key))

    assert costs[1] < costs[0] + 1_000, costs  # each waiting row that is looked at is a block more


def _blocks(dsn: str, statement: Any, params: dict[str, Any]) -> int:
    with psycopg.connect(dsn, options="-c enable_seqscan=off") as conn:
        cursor = psycopg.ClientCursor(conn).execute(
            "explain (analyze, buffers, format json) " + statement, params
        )
        ((plan,),) = cursor.fetchall()
    return int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])


async def test_an_open_breaker_and_a_rate_used_up_are_reasons_to_wait(
    opened: Opened, rows: Rows
) -> None:
    box = await opened(mailer())
    await box.publish(OrderPlaced(order_id=1))
    box.advance(HOUR + 1 * SECOND)
    rows(
        "insert into outbox.relay (id, started_at, seen_at, handlers, throttled)"
        " values ('far:1:a', now(), now(), '{mailer}', '{mailer}')"
    )
    slow = await kinds(box)
    rows("update outbox.destination set breaker_opened_at = now(), breaker_probe_at = now()")

    assert slow == [("blocked", "mailer", "rate empty")]
    assert await kinds(box) == [("blocked", "mailer", "breaker open")]
