"""The client against the emulated FCM, over real HTTP on the loopback."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from handlers.emulators.fcm import FcmEmulator, Outage, service_account
from handlers.emulators.google_token import TokenAnswer
from handlers.fcm import FcmClient
from handlers.fcm.answers import (
    Accepted,
    Ambiguous,
    AuthRejected,
    BadAddress,
    PlatformAuth,
    SendResult,
    Throttled,
    Transient,
)
from handlers.fcm.encode import AddressKind
from outbox.errors import CredentialsRejected
from tests.handlers.fcm.wire import NOON, Wire, clients, device, push

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from tests.handlers.fcm.wire import Time


@pytest.mark.parametrize(
    ("address", "expected", "delivered"),
    [
        ("ok-1", Accepted("projects/outbox-demo/messages/0:0000000000000001"), 1),
        ("unreg-1", BadAddress("unregistered"), 0),
        ("badtok-1", BadAddress("malformed"), 0),
        ("mismatch-1", BadAddress("sender_id_mismatch"), 0),
        ("quota-1", Throttled(timedelta(seconds=60)), 0),
        ("down-1", Transient("fcm_unavailable"), 0),
        ("int-1", Transient("fcm_internal"), 0),
        ("apns-1", PlatformAuth(), 0),
        ("html-1", Ambiguous("http_502"), 0),
        ("drop-1", Ambiguous("fcm_connection_lost"), 1),
    ],
)
async def test_what_an_address_makes_of_a_send(
    wire: Wire, address: str, expected: SendResult, delivered: int
) -> None:
    assert await wire.client.send(push(address)) == expected
    assert len(wire.fcm.deliveries) == delivered
    assert wire.fcm.calls_of(address) == 1


async def test_a_delivery_is_recorded_as_the_device_gets_it(wire: Wire) -> None:
    sent = push("ok-1", device=device("ok-1", kind=AddressKind.FID))

    await wire.client.send(sent)

    deliveries = list(wire.fcm.deliveries)
    assert len(deliveries) == 1
    delivery = deliveries[0]
    assert (delivery.address, delivery.tag, delivery.at) == ("ok-1", sent.tag, NOON)
    assert delivery.payload["fid"] == "ok-1"
    assert list(wire.fcm.deliveries_by_tag) == [sent.tag]


async def test_a_slow_answer_is_ambiguous_and_was_delivered(key: RSAPrivateKey, time: Time) -> None:
    """The case FCM leaves us with: we gave up waiting, and the phone rang all the same."""
    released, slept = asyncio.Event(), asyncio.Event()

    async def sleep(_: float) -> None:
        await released.wait()
        slept.set()

    emulator = FcmEmulator(public_key=key.public_key(), wall=time.now, sleep=sleep)
    async with (
        emulator as fcm,
        clients(timedelta(seconds=1)) as (http, posts),
    ):
        account, _ = service_account(fcm.token_url, key=key)
        client = Wire(fcm, http, posts, account, time).client

        assert await client.send(push("slow-1")) == Ambiguous("fcm_timed_out")
        released.set()
        await slept.wait()
    assert [delivery.address for delivery in fcm.deliveries] == ["slow-1"]


async def test_the_whole_exchange_is_bounded_not_each_read_alone(wire: Wire) -> None:
    """An answer that trickles meets every read timeout and still has to end."""
    client = FcmClient(
        wire.posts, wire.tokens, base_url=wire.fcm.base_url, project_id=wire.fcm.project_id,
        now=wire.time.now, timeout=timedelta(0),
    )  # fmt: skip

    assert await client.send(push()) == Ambiguous("fcm_timed_out")


async def test_a_closed_port_is_transient(wire: Wire) -> None:
    """Nothing left, so nothing can have arrived: safe to send again."""
    client = FcmClient(
        wire.posts, wire.tokens, base_url="http://127.0.0.1:9", project_id="p", now=wire.time.now
    )

    assert await client.send(push()) == Transient("fcm_unreachable")


async def test_a_refused_token_is_refreshed_once_and_the_push_sent_once_more(wire: Wire) -> None:
    await wire.tokens.get()
    wire.fcm.tokens.revoke_all()

    assert isinstance(await wire.client.send(push()), Accepted)
    assert wire.fcm.tokens.issued == 2
    assert len(wire.fcm.deliveries) == 1


async def test_ten_senders_with_a_refused_token_refresh_it_once(wire: Wire) -> None:
    await wire.tokens.get()
    wire.fcm.tokens.revoke_all()

    results = await asyncio.gather(*(wire.client.send(push(f"ok-{n}")) for n in range(10)))

    assert all(isinstance(result, Accepted) for result in results)
    assert wire.fcm.tokens.issued == 2


async def test_a_second_refusal_is_final(wire: Wire) -> None:
    """Tokens that are born dead: two sends, then the credential circuit's affair."""
    wire.fcm.tokens.expires_in = 1
    wire.fcm.tokens.wall = lambda: NOON + timedelta(seconds=-5)
    await wire.tokens.get()
    wire.fcm.tokens.wall = lambda: NOON
    wire.fcm.tokens.script.append(
        TokenAnswer(200, '{"access_token": "unheard-of", "expires_in": 3599}')
    )

    assert await wire.client.send(push()) == AuthRejected(401, refresh=True)
    assert wire.fcm.deliveries == ()


async def test_another_projects_address_is_refused_as_ours(wire: Wire) -> None:
    client = FcmClient(
        wire.posts, wire.tokens, base_url=wire.fcm.base_url, project_id="other", now=wire.time.now
    )

    assert await client.send(push()) == AuthRejected(403, refresh=False)


async def test_rejected_credentials_stop_the_send_before_it_begins(wire: Wire) -> None:
    wire.fcm.tokens.reject = True

    with pytest.raises(CredentialsRejected):
        await wire.client.send(push())

    assert wire.fcm.sends == 0


async def test_the_probe_delivers_nothing(wire: Wire) -> None:
    result = await wire.client.probe()

    assert result == Accepted("projects/outbox-demo/messages/fake_message_id")
    assert (wire.fcm.deliveries, wire.fcm.sends) == ((), 0)


@pytest.mark.parametrize(
    ("outage", "expected", "delivered"),
    [
        (Outage(), Transient("fcm_unavailable"), 0),
        (Outage(503, retry_after="30"), Transient("fcm_unavailable", timedelta(seconds=30)), 0),
        (Outage(500), Transient("fcm_internal"), 0),
        (Outage(429, retry_after="5"), Throttled(timedelta(seconds=5)), 0),
        (Outage(503, html=True), Ambiguous("http_503_without_body"), 0),
        (Outage(502, html=True, delivers=True), Ambiguous("http_502"), 1),
    ],
)
async def test_an_outage_answers_everybody_the_same(
    wire: Wire, outage: Outage, expected: SendResult, delivered: int
) -> None:
    wire.fcm.outage = outage
    assert await wire.client.send(push()) == expected
    assert len(wire.fcm.deliveries) == delivered

    wire.fcm.outage = None
    assert isinstance(await wire.client.send(push()), Accepted)


async def test_a_throttled_project_says_how_long(wire: Wire) -> None:
    wire.fcm.quota_retry_after = "Mon, 02 Mar 2026 12:00:45 GMT"

    assert await wire.client.send(push("quota-1")) == Throttled(timedelta(seconds=45))


async def test_a_flaky_address_succeeds_at_the_third_call(wire: Wire) -> None:
    results = [await wire.client.send(push("flaky2-1")) for _ in range(3)]

    assert [type(result) for result in results] == [Transient, Transient, Accepted]


async def test_calls_in_flight_are_counted(key: RSAPrivateKey, time: Time) -> None:
    arrived: list[float] = []
    all_here = asyncio.Event()

    async def sleep(seconds: float) -> None:
        arrived.append(seconds)
        if len(arrived) == 4:
            all_here.set()
        await all_here.wait()

    emulator = FcmEmulator(
        public_key=key.public_key(), wall=time.now, sleep=sleep, latency_seconds=0.3
    )
    async with (
        emulator as fcm,
        clients(timedelta(seconds=5)) as (http, posts),
    ):
        account, _ = service_account(fcm.token_url, key=key)
        client = Wire(fcm, http, posts, account, time).client
        await asyncio.gather(*(client.send(push(f"ok-{n}")) for n in range(4)))

    assert (fcm.in_flight_max, arrived) == (4, [0.3] * 4)


async def test_nothing_secret_is_logged(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    """SEC-4, P12: no access token, no assertion, no address at any level of any logger."""
    caplog.set_level(logging.DEBUG)
    for address in ("ok-secret-address", "drop-secret-address", "unreg-secret-address"):
        await wire.client.send(push(address))

    text = caplog.text + repr(wire.client.__dict__) + repr(wire.tokens)
    assert "emulated-token" not in text
    assert "secret-address" not in text
    assert "PRIVATE KEY" not in text
    assert "Bearer" not in text
