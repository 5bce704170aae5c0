"""The probes tell whether a relay lives, and why it is not ready; the metrics show no names."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg_pool import PoolTimeout

from outbox import App, Dead, Retry, publish
from outbox.errors import ConfigurationError
from outbox.house import House
from outbox.probe import Address, answering, readiness
from outbox.relay import Relay
from outbox.vitals import TURN_SECONDS_MAX
from tests.outbox.shop import MINUTE, SECOND, OrderPlaced, Unheard, mailer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from outbox.testing import OutboxHarness
    from tests.outbox.conftest import Opened, Rows


def get(address: Address, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://{address}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


@asynccontextmanager
async def running(app: App, dsn: str) -> AsyncIterator[Relay]:
    relay, stop = Relay(app, dsn), asyncio.Event()
    async with relay.opened():
        work = asyncio.create_task(relay.run(stop))
        try:
            yield relay
        finally:
            stop.set()
            await work


async def house_of(box: OutboxHarness) -> House:
    """The box's relay as if it ran: its bell heard, one round of housekeeping behind it."""
    box.relay._notifier.listening = True
    house = House(box.app, box.relay.pool, box.relay.vitals)
    await house.round(box.relay._beat)
    return house


def problems(box: OutboxHarness) -> list[str]:
    return [one.reason for one in box.relay.vitals.problems()]


async def test_a_running_relay_answers_all_three(database: str) -> None:
    app = App("shop")
    app.add(mailer())
    with psycopg.connect(database) as conn:
        publish(conn, OrderPlaced(order_id=1))
    async with running(app, database) as relay:
        with answering(Address("127.0.0.1", 0), relay.vitals) as address:
            async with asyncio.timeout(20):
                while relay.vitals.problems() or not relay.vitals.meter.attempts:  # noqa: ASYNC110 - nothing rings when it is ready
                    await asyncio.sleep(0)
            alive = await asyncio.to_thread(get, address, "/healthz")
            ready = await asyncio.to_thread(get, address, "/readyz")
            code, text = await asyncio.to_thread(get, address, "/metrics")
            lost, _ = await asyncio.to_thread(get, address, "/elsewhere")
    samples = {
        (one.name, *one.labels.values()): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }

    assert (alive[0], ready[0], code, lost) == (200, 200, 200, 404)
    assert samples["outbox_attempts_total", "mailer", "done"] == 1
    assert samples["outbox_relay_ready",] == 1
    assert samples["outbox_oldest_due_age_seconds", "mailer"] == 0
    assert samples["outbox_settle_seconds_count", "mailer"] == 1
    assert samples["outbox_claimed_total", "mailer"] == 1
    assert samples["outbox_in_flight", "mailer"] == 0


async def test_ready_names_what_is_overdue_and_what_is_parked(opened: Opened) -> None:
    box = await opened(mailer())
    house = await house_of(box)
    fine = problems(box)
    await box.publish(OrderPlaced(order_id=1))
    await box.publish(Unheard())
    box.advance(MINUTE + 1 * SECOND)
    for _ in range(2):
        await house.round(box.relay._beat)

    code, body = readiness(box.relay.vitals)

    assert fine == []
    assert code == 503
    assert [(one["reason"], one["subject"]) for one in body["problems"]] == [
        ("overdue", "mailer"), ("unrouted", "tree.fallen"),
    ]  # fmt: skip
    assert body["ready"] is False


async def test_what_stays_blocked_is_told_and_leaves_the_relay_ready(
    opened: Opened, rows: Rows
) -> None:
    box = await opened(mailer())
    house = await house_of(box)
    await box.publish(OrderPlaced(order_id=1))
    rows("update outbox.destination set paused_at = now(), paused_by = 'ada'")
    box.advance(61 * MINUTE)
    for _ in range(2):
        await house.round(box.relay._beat)

    code, body = readiness(box.relay.vitals)

    assert code == 200
    assert [(one["reason"], one["subject"]) for one in body["blocked"]] == [
        ("blocked: paused", "mailer")
    ]


async def test_a_relay_that_cannot_see_says_so(opened: Opened) -> None:
    box = await opened(mailer())
    unseen = problems(box)
    house = await house_of(box)
    seen = problems(box)
    box.relay._notifier.listening = False
    deaf = problems(box)

    async def away(_: Any) -> None:
        raise PoolTimeout

    await house.round(away)
    blind = problems(box)
    await house.round(box.relay._beat)
    box.relay.vitals.turned_at -= TURN_SECONDS_MAX + 1

    assert unseen == ["starting", "not_listening"]
    assert seen == []
    assert deaf == ["not_listening"]
    assert blind == ["database_unreachable", "not_listening"]
    assert problems(box) == ["event_loop_stuck", "not_listening"]
    assert not box.relay.vitals.alive()


async def test_metrics_count_by_handler_outcome_and_state_and_name_nobody(
    opened: Opened, rows: Rows
) -> None:
    """P12: labels come from the code; payload, key and error text are nowhere."""
    box = await opened(mailer())
    box.relay.vitals.read = True
    house = await house_of(box)
    await box.publish(OrderPlaced(order_id=1, note="payload-marker"), key="key-marker")
    await box.publish(OrderPlaced(order_id=2, note="payload-marker"))
    lease = await box.claim_one()
    await box.settle(lease, Dead("refused"), ValueError("text-marker"))
    await box.settle(await box.claim_one(), Retry(MINUTE, "busy"))
    rows("update outbox.destination set paused_at = now(), paused_by = 'actor-marker'")
    house._depth_at = float("-inf")
    await house.round(box.relay._beat)
    with answering(Address("127.0.0.1", 0), box.relay.vitals) as address:
        _, text = await asyncio.to_thread(get, address, "/metrics")
        told = [text, (await asyncio.to_thread(get, address, "/readyz"))[1]]

    assert 'outbox_attempts_total{handler="mailer",outcome="dead"} 1.0' in text
    assert 'outbox_attempts_total{handler="mailer",outcome="retry"} 1.0' in text
    assert 'outbox_deliveries{handler="mailer",state="pending"} 1.0' in text
    assert 'outbox_deliveries{handler="mailer",state="dead"} 1.0' in text
    assert 'outbox_destination{handler="mailer",state="paused"} 1.0' in text
    assert "marker" not in "".join(told)


@pytest.mark.parametrize("given", ["", "nine", "localhost:", "127.0.0.1:65536", "1:2:x", "-1"])
def test_an_address_that_is_none_says_what_one_is(given: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--http is .*HOST:PORT"):
        Address.parse(given)


def test_addresses_are_read_as_people_write_them() -> None:
    read = [Address.parse(given) for given in ("9100", "0.0.0.0:9100", "[::1]:9100")]

    assert read == [("127.0.0.1", 9100), ("0.0.0.0", 9100), ("::1", 9100)]  # noqa: S104 - read, not opened
    assert str(read[2].plus(2)) == "[::1]:9102"
    with pytest.raises(ConfigurationError, match="leaves no port"):
        Address("127.0.0.1", 65_535).plus(1)


async def test_a_port_that_is_taken_says_so(opened: Opened) -> None:
    box = await opened(mailer())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        with (
            pytest.raises(ConfigurationError, match="somebody else listens there"),
            answering(address, box.relay.vitals),
        ):
            raise AssertionError
