"""Explain, doctor, probes and metrics know tickets, workers and the broker."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from outbox import Message
from outbox.checkup import check_up
from outbox.doctor import examine
from outbox.explain import explain
from outbox.house import House
from outbox.metrics import exposition
from outbox.probe import readiness
from outbox.transport.brokers import BrokerAddress
from outbox.transport.sending import DramatiqSender
from outbox.transport.worker import Worker
from tests.outbox.conftest import command_line
from tests.outbox.shop import SECOND, OrderPlaced, made, mailer
from tests.transport.proxy import proxied
from tests.transport.scene import Stage, staged

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer.testing import Result

    from outbox.findings import Finding
    from tests.outbox.conftest import Rows

__all__ = ["command_line"]

ABOUT_WORKERS = {"broker", "workers", "tickets"}
NOBODY = "amqp://clerk:s3cret@127.0.0.1:1"


async def keep_house(stage: Stage) -> None:
    """One round of housekeeping: the relay says that it lives, and how."""
    stage.relay._notifier.listening = True
    await House(stage.relay._app, stage.relay.pool, stage.relay.vitals).round(stage.relay._beat)


async def told(stage: Stage, rows: Rows) -> tuple[str, str]:
    """Why the only delivery waits."""
    ((delivery,),) = rows("select id from outbox.delivery")
    async with stage.relay.pool.connection() as conn:
        found = await explain(conn, stage.relay._app, delivery, now=stage.clock.sql_now())
    assert found is not None
    return found.state, found.reason


async def findings(stage: Stage) -> list[Finding]:
    facts = await check_up(stage.relay._app, stage.relay.dsn, bell_seconds=0.01)
    return [one for one in examine(facts) if one.check in ABOUT_WORKERS]


async def test_a_delivery_under_a_ticket_is_explained_as_one(database: str, rows: Rows) -> None:
    handler = mailer()
    async with staged(made(handler), database, beat=False) as stage:
        await keep_house(stage)
        await stage.publish(OrderPlaced(order_id=1))
        alone = await told(stage, rows)
        await stage.beat()
        free = await told(stage, rows)
        (ticket,) = await stage.send()
        out = await told(stage, rows)
        stage.advance(handler.lease + SECOND)
        late = await told(stage, rows)
        await stage.lose_worker()
        lost = await told(stage, rows)
        await stage.look()
        back = await told(stage, rows)

    assert alone[0] == "no worker"
    assert "every relay of mailer hands over" in alone[1]
    assert "order.placed version 1" in alone[1]
    assert free == ("due", "due now; a relay will claim it")
    assert out[0] == late[0] == "queued"
    assert f"sent a ticket to {ticket.queue}; no worker has taken it; sent again at" in out[1]
    assert "it is to be sent again" in late[1]
    assert lost[0] == back[0] == "no worker"
    assert "which no live worker reads; since" in lost[1]
    assert "every relay of mailer" in back[1]


async def test_a_ticket_that_nobody_takes_is_overdue_however_often_it_is_sent(
    database: str,
) -> None:
    """Its lease never ends while a worker says that it reads the queue (P11)."""
    handler = mailer()
    async with staged(made(handler), database) as stage:
        await stage.publish(OrderPlaced(order_id=1))
        copies = await stage.send()
        for _ in range(3):
            stage.advance(handler.lease + SECOND)
            copies += await stage.look()
        async with stage.relay.pool.connection() as conn:
            waiting = await stage.relay.vitals.audit.find(conn)
            await stage.work.exchange([copies[0].token], copies[0].ids)
            under_way = await stage.relay.vitals.audit.find(conn)

    assert len(copies) == 4
    assert [(one.kind, one.subject) for one in waiting] == [("overdue", "mailer")]
    assert under_way == []


async def test_an_inline_relay_beside_needs_no_worker(database: str, rows: Rows) -> None:
    async with staged(made(mailer()), database, beat=False) as stage:
        await keep_house(stage)
        rows("insert into outbox.relay values ('far:1:a', now(), now(), %s, null)", ["mailer"])
        await stage.publish(OrderPlaced(order_id=1))

        assert (await told(stage, rows))[0] == "due"
        assert await findings(stage) == []


class LaterOrderPlaced(Message, topic="order.placed", version=2):
    """What only the next version reads."""

    order_id: int


async def test_the_doctor_sees_workers_that_are_missing_or_of_two_versions(
    database: str,
) -> None:
    new = made(mailer(messages=(OrderPlaced, LaterOrderPlaced)))
    async with (
        staged(made(mailer()), database, beat=False) as stage,
        staged(new, database, beat=False) as newer,
    ):
        await keep_house(stage)
        alone = await findings(stage)
        await stage.beat()
        sound = await findings(stage)
        await newer.beat("w2")
        both = await findings(stage)
        await stage.publish(OrderPlaced(order_id=1))
        (ticket,) = await stage.send()
        await (newer if "w2" in ticket.queue else stage).lose_worker("w1")
        await stage.lose_worker("w2")
        lying = await findings(stage)

    assert [(one.severity.value, one.check) for one in alone] == [("error", "workers")]
    assert sound == []
    assert [(one.severity.value, one.check) for one in both] == [("note", "workers")]
    assert [one.check for one in lying] == ["workers", "tickets"]
    assert f"1 deliveries of 'mailer' are under tickets in queue {ticket.queue}" in lying[1].what


async def test_a_broker_that_is_away_is_told_by_probe_metric_explain_and_doctor(
    database: str, rows: Rows
) -> None:
    async with staged(made(mailer()), database) as stage:
        await keep_house(stage)
        well = readiness(stage.relay.vitals)[0], exposition(stage.relay.vitals).decode()
        stage.shelf.away = True
        await keep_house(stage)
        await stage.publish(OrderPlaced(order_id=1))
        code, body = readiness(stage.relay.vitals)
        metrics = exposition(stage.relay.vitals).decode()
        explained = await told(stage, rows)
        found = await findings(stage)
        stage.shelf.away = False
        await keep_house(stage)
        after = await findings(stage)

    assert well[0] == 200
    assert "outbox_relay_broker_up 1.0" in well[1]
    assert code == 503
    assert [one["reason"] for one in body["problems"]] == ["broker_unreachable"]
    assert "outbox_relay_broker_up 0.0" in metrics
    assert explained[0] == "broker away"
    assert [one.check for one in found] == ["broker"]
    assert "the shelf is away" in found[0].what
    assert after == []


async def test_a_quiet_relay_learns_that_the_broker_is_back(address: BrokerAddress) -> None:
    """Nothing is to be sent, so nothing else would tell it."""
    async with proxied(address) as proxy:
        sender = DramatiqSender(proxy.address)
        await sender.open()
        sender._failed_at = float("-inf")
        await proxy.cut()
        await sender.try_again()
        away = sender.trouble
        tried_at = sender._failed_at
        await proxy.listen()
        sender._failed_at = float("-inf")
        await sender.try_again()
        back = sender.trouble
        await sender.close()

    assert away is not None
    assert "127.0.0.1" in away
    assert tried_at > float("-inf")  # and not at once again
    assert back is None


async def test_a_worker_that_reads_nothing_is_not_ready(database: str) -> None:
    worker = Worker(made(mailer()), database, BrokerAddress.of(NOBODY))
    starting = [(one.reason, one.subject) for one in worker.vitals.problems()]
    worker.vitals.looked()
    code, body = readiness(worker.vitals)
    metrics = exposition(worker.vitals).decode()

    assert starting == [("starting", None), ("broker_unreachable", "mailer")]
    assert code == 503
    assert body["worker"] == worker.name
    assert [(one["reason"], one["subject"]) for one in body["problems"]] == [
        ("broker_unreachable", "mailer")
    ]
    assert 'outbox_worker_connected{handler="mailer"} 0.0' in metrics
    assert "outbox_worker_ready 0.0" in metrics
    assert "outbox_oldest_due_age_seconds" not in metrics  # relays answer for what waits


@pytest.mark.parametrize(("given", "words"), [("nine", "HOST:PORT"), ("taken", "somebody else")])
def test_a_worker_s_port_that_cannot_be_used_says_why(
    given: str,
    words: str,
    database: str,
    command_line: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("BROKER_URL", NOBODY)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: Any = taken.getsockname()[1] if given == "taken" else given
        ended = command_line(made(mailer()), "worker", "--http", str(port))

    assert ended.exit_code != 0
    assert words in str(ended.exception)
    assert "s3cret" not in str(ended.exception)
