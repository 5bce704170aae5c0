"""Push through the engine: published, claimed, sent over HTTP, settled into the tables."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import psycopg
import pytest

from handlers.commands import PushRequested
from handlers.emulators.fcm import FcmEmulator, service_account
from handlers.fcm import PostgresPushStore, PushHandler
from handlers.texts import may_arrive_again
from outbox import App, Relay, SystemClock, VirtualClock, publish
from tests.handlers.fcm.tables import Tables
from tests.handlers.fcm.wire import Time, Wire, clients

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from outbox import Clock

RECIPIENTS = 200


@pytest.fixture
def tables(database: str) -> Iterator[Tables]:
    with psycopg.connect(database, autocommit=True) as conn:
        yield Tables(conn)


@asynccontextmanager
async def _running(
    key: RSAPrivateKey,
    database: str,
    *,
    latency_seconds: float = 0.0,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    clock: Clock | None = None,
) -> AsyncIterator[tuple[Relay, FcmEmulator]]:
    """A relay with the push handler alone, in front of an emulated FCM."""
    clock = clock or SystemClock()
    time = Time(wall=clock.now())
    emulator = FcmEmulator(
        public_key=key.public_key(),
        wall=time.now,
        latency_seconds=latency_seconds,
        sleep=sleep,
    )
    async with (
        emulator as fcm,
        clients(timedelta(seconds=5)) as (http, posts),
    ):
        account, _ = service_account(fcm.token_url, key=key)
        client = Wire(fcm, http, posts, account, time).client
        app = App(name="push", clock=clock)
        app.add(PushHandler(client, PostgresPushStore(), clock.now).handler(PushRequested))
        async with Relay(app, database).opened() as relay:
            yield relay, fcm


def _ask(tables: Tables, address: str) -> UUID:
    """A group whose recipient has one device, seen just now."""
    who = uuid4()
    group, _ = tables.push_of(who)
    tables.device(who, address)
    tables.do("update device_tokens set last_seen_at = now() where user_id = %s", who)
    with tables.conn.transaction():
        publish(tables.conn, PushRequested(group_id=group))
    return group


def _statuses(tables: Tables) -> dict[str, int]:
    rows = tables.conn.execute("select status, count(*) from notification_groups group by status")
    return {str(status): int(count) for status, count in rows}


async def test_t0_5_two_hundred_pushes_go_out_ten_at_a_time(
    key: RSAPrivateKey, database: str, tables: Tables
) -> None:
    """T0.1, T0.5, DSP-1: all served, one row each, and never more than ten calls open."""
    async with _running(key, database, latency_seconds=0.02) as (relay, fcm):
        for number in range(RECIPIENTS):
            _ask(tables, f"ok-{number}")
        await relay.drain()

    assert len(fcm.deliveries) == RECIPIENTS
    assert fcm.in_flight_max == 10
    assert fcm.tokens.issued == 1
    assert _statuses(tables) == {"delivered": RECIPIENTS}
    logged = tables.conn.execute("select status, attempts from cert_notification_log").fetchall()
    assert logged == [("delivered", 1)] * RECIPIENTS


async def test_t0_2_each_push_ends_on_its_own(
    key: RSAPrivateKey, database: str, tables: Tables
) -> None:
    """T0.2, DSP-2, DSP-3: one of every fate in one batch; what may have arrived is unknown."""
    addresses = ("ok-1", "unreg-1", "ok-2", "int-1", "drop-1", "apns-1", "ok-3")
    async with _running(key, database) as (relay, fcm):
        groups = {address: _ask(tables, address) for address in addresses}
        await relay.drain()

    found = {address: tables.group_row(group)[:3] for address, group in groups.items()}
    assert found == {
        "ok-1": ("delivered", 1, None),
        "unreg-1": ("failed", 1, "address_unregistered"),
        "ok-2": ("delivered", 1, None),
        "int-1": ("queued", 1, "fcm_internal"),
        "drop-1": ("unknown", 1, "fcm_connection_lost"),
        "apns-1": ("failed", 1, "platform_credentials"),
        "ok-3": ("delivered", 1, None),
    }
    assert sorted(delivery.address for delivery in fcm.deliveries) == [
        "drop-1", "ok-1", "ok-2", "ok-3"
    ]  # fmt: skip


async def test_a_failed_push_is_due_later_and_nobody_sleeps(
    key: RSAPrivateKey, database: str, tables: Tables
) -> None:
    """T4.3, T4.4, RTY-1, RTY-4, RTY-5: exactly three calls, 10 and 20 s apart on our clock."""
    clock = VirtualClock(SystemClock().now())
    attempts = []
    async with _running(key, database, clock=clock) as (relay, fcm):
        group = _ask(tables, "flaky2-1")
        for seconds in (0, 9.9, 2.2, 19.9, 4.2, 60):
            clock.advance(timedelta(seconds=seconds))
            await relay.drain()
            attempts.append(fcm.calls_of("flaky2-1"))

    assert attempts == [1, 1, 2, 2, 3, 3]
    assert tables.group_row(group)[:3] == ("delivered", 3, None)
    assert len(fcm.deliveries) == 1


async def test_a_call_is_on_record_before_its_first_byte(
    key: RSAPrivateKey, database: str, tables: Tables
) -> None:
    """DSP-6: a killed process leaves what it had begun in doubt, and nothing else."""
    begun: list[tuple[int, int]] = []

    async def look(_: float) -> None:
        rows = tables.row(
            "select count(begun_at), count(*) filter (where lease_until > now())"
            " from outbox.delivery where handler = 'fcm' and begun_at is not null"
        )
        begun.append((rows[0], rows[1]))

    async with _running(key, database, latency_seconds=0.001, sleep=look) as (relay, fcm):
        _ask(tables, "ok-1")
        await relay.drain()

    assert len(fcm.deliveries) == 1
    assert begun == [(1, 1)]


async def test_in_doubt_the_organisation_says_whether_it_is_sent_again(
    key: RSAPrivateKey, database: str, tables: Tables
) -> None:
    """DSP-7, DED-12: once more, with the same tag and the sentence, for whom it says so."""
    tables.do(
        "insert into notification_policies (organisation_id, audience, thresholds, in_doubt)"
        " values (%s, 'coordinator', '{30}', 'resend_once'), (%s, 'mentor', '{30}', 'hold')",
        tables.organisation, tables.organisation,
    )  # fmt: skip
    tables.do(
        "insert into feature_flags (organisation_id, flag, enabled)"
        " values (%s, 'per_org_thresholds', true)",
        tables.organisation,
    )
    async with _running(key, database) as (relay, fcm):
        asked = _ask(tables, "drop-1")
        held, _ = tables.push_of(uuid4())
        (mentor,) = tables.row("select mentor_id from notification_items where group_id = %s", held)
        tables.do("update notification_groups set recipient_id = %s where id = %s", mentor, held)
        tables.device(mentor, "drop-2")
        tables.do("update device_tokens set last_seen_at = now() where user_id = %s", mentor)
        with tables.conn.transaction():
            publish(tables.conn, PushRequested(group_id=held))
        await relay.drain()

    bodies = [
        (one.address, one.payload["notification"]["body"].endswith(may_arrive_again("nb")))
        for one in sorted(fcm.deliveries, key=lambda one: one.address)
    ]
    assert bodies == [("drop-1", False), ("drop-1", True), ("drop-2", False)]
    assert tables.group_row(asked)[:3] == ("unknown", 2, "fcm_connection_lost")
    assert tables.group_row(held)[:3] == ("unknown", 1, "fcm_connection_lost")
    tags = {str(one.payload["android"]["notification"]["tag"]) for one in fcm.deliveries}
    assert len(tags) == 2


@pytest.mark.parametrize(
    "flag", [None, "false, null", "true, '2020-01-01'"], ids=["none", "off", "over"]
)
async def test_in_doubt_a_policy_that_is_not_in_force_repeats_nothing(
    key: RSAPrivateKey, database: str, tables: Tables, flag: str | None
) -> None:
    """CFG-3: what the organisation configured waits for its flag; until then the default holds."""
    if flag is not None:
        tables.do(
            "insert into feature_flags (organisation_id, flag, enabled, expires_at)"
            f" values (%s, 'per_org_thresholds', {flag})",
            tables.organisation,
        )
    tables.do(
        "insert into notification_policies (organisation_id, audience, thresholds, in_doubt)"
        " values (%s, 'coordinator', '{30}', 'resend_once')",
        tables.organisation,
    )
    async with _running(key, database) as (relay, fcm):
        asked = _ask(tables, "drop-1")
        await relay.drain()

    assert tables.group_row(asked)[:3] == ("unknown", 1, "fcm_connection_lost")
    assert len(fcm.deliveries) == 1


async def test_a_throttled_project_holds_every_push_and_spends_no_attempt(
    key: RSAPrivateKey, database: str, tables: Tables
) -> None:
    """P7: one 429 stops them all."""
    async with _running(key, database) as (relay, fcm):
        throttled = _ask(tables, "quota-1")
        await relay.drain()
        waiting = _ask(tables, "ok-1")
        await relay.drain()

    assert tables.group_row(throttled)[:3] == ("queued", 0, "fcm_throttled")
    assert tables.group_row(waiting)[0] == "queued"
    assert fcm.deliveries == ()
    held = tables.row("select held_until > now() from outbox.destination where handler = 'fcm'")
    assert held == (True,)


async def test_rejected_credentials_open_the_circuit_and_spend_no_attempt(
    key: RSAPrivateKey, database: str, tables: Tables
) -> None:
    """SYN-11's sister for push: no send, no attempt, the group stays queued."""
    async with _running(key, database) as (relay, fcm):
        fcm.tokens.reject = True
        group = _ask(tables, "ok-1")
        await relay.drain()

    assert tables.group_row(group)[:3] == ("queued", 0, "token_request_rejected")
    assert fcm.sends == 0
