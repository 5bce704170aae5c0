"""Push through the engine: published, claimed, sent over HTTP, settled into the tables."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import psycopg
import pytest

from handlers.commands import PushRequested
from handlers.emulators.fcm import FcmEmulator, service_account
from handlers.fcm import PostgresPushStore, PushHandler
from handlers.http import http_client
from outbox import App, Relay, SystemClock, publish
from tests.handlers.fcm.tables import Tables
from tests.handlers.fcm.wire import Time, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

RECIPIENTS = 200


@pytest.fixture
def tables(database: str) -> Iterator[Tables]:
    with psycopg.connect(database, autocommit=True) as conn:
        yield Tables(conn)


@asynccontextmanager
async def _running(
    key: RSAPrivateKey, database: str, *, latency_seconds: float = 0.0
) -> AsyncIterator[tuple[Relay, FcmEmulator]]:
    """A relay with the push handler alone, in front of an emulated FCM."""
    clock = SystemClock()
    time = Time(wall=clock.now())
    emulator = FcmEmulator(
        public_key=key.public_key(), wall=time.now, latency_seconds=latency_seconds
    )
    async with (
        emulator as fcm,
        http_client(timeout=timedelta(seconds=5), connections_max=20) as http,
    ):
        account, _ = service_account(fcm.token_url, key=key)
        client = Wire(fcm, http, account, time).client
        app = App(name="push")
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
    """T0.2, DSP-3: one of every fate in one batch; what may have arrived is unknown."""
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
