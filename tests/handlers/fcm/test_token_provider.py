"""One exchange for all who wait, a quiet refresh, and a hint that ends a puzzling outage."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from handlers.emulators.google_token import TokenAnswer, generate_key, service_account
from handlers.fcm import ServiceAccountGrant, parse_service_account, read_service_account
from handlers.token_provider import TokenProvider, rejection_hint
from outbox.errors import CredentialsRejected, TransientFailure
from tests.handlers.fcm.wire import NOON, Time

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from tests.handlers.fcm.wire import Wire


async def test_ten_callers_cause_one_exchange(wire: Wire) -> None:
    tokens = await asyncio.gather(*(wire.tokens.get() for _ in range(10)))

    assert set(tokens) == {"emulated-token-1"}
    assert wire.fcm.tokens.requests == 1


async def test_ten_callers_share_one_failure(wire: Wire) -> None:
    """CRD-5: an endpoint that hangs must cost the ten one timeout, not ten in a row."""
    wire.fcm.tokens.script.append(TokenAnswer(503))

    ends = await asyncio.gather(*(wire.tokens.get() for _ in range(10)), return_exceptions=True)

    assert wire.fcm.tokens.requests == 1
    assert {(type(end), str(end)) for end in ends} == {
        (TransientFailure, "token_endpoint_http_503")
    }
    assert await wire.tokens.get() == "emulated-token-1"


async def test_a_token_is_kept_until_five_minutes_before_its_end(wire: Wire) -> None:
    assert await wire.tokens.get() == "emulated-token-1"
    wire.time.advance(3599 - 301)
    assert await wire.tokens.get() == "emulated-token-1"
    wire.time.advance(1)
    assert await wire.tokens.get() == "emulated-token-2"


async def test_a_stepped_wall_clock_changes_no_lifetime(wire: Wire) -> None:
    await wire.tokens.get()
    wire.time.wall += timedelta(hours=5)

    assert await wire.tokens.get() == "emulated-token-1"


async def test_a_failed_refresh_is_quiet_while_the_old_token_lasts(wire: Wire) -> None:
    """CRD-5: between 300 s and 60 s left it is used on, and asked for again after 30 s."""
    await wire.tokens.get()
    wire.time.advance(3599 - 250)
    wire.fcm.tokens.script.append(TokenAnswer(503))

    assert await wire.tokens.get() == "emulated-token-1"
    assert await wire.tokens.get() == "emulated-token-1"
    assert wire.fcm.tokens.requests == 2
    wire.time.advance(30)
    assert await wire.tokens.get() == "emulated-token-2"


async def test_a_failed_refresh_is_fatal_in_the_last_minute(wire: Wire) -> None:
    await wire.tokens.get()
    wire.time.advance(3599 - 60)
    wire.fcm.tokens.script.append(TokenAnswer(503))

    with pytest.raises(TransientFailure):
        await wire.tokens.get()


async def test_rejected_credentials_are_told_at_once(wire: Wire) -> None:
    """CRD-2: a human has to know now, although the old token would last four minutes more."""
    await wire.tokens.get()
    wire.time.advance(3599 - 250)
    wire.fcm.tokens.reject = True

    with pytest.raises(CredentialsRejected) as caught:
        await wire.tokens.get()

    assert caught.value.hint == "HTTP 400, invalid_grant"


async def test_a_short_lived_token_is_not_fetched_at_every_turn(wire: Wire) -> None:
    wire.fcm.tokens.expires_in = "120"

    assert [await wire.tokens.get() for _ in range(3)] == ["emulated-token-1"] * 3
    wire.time.advance(60)
    assert await wire.tokens.get() == "emulated-token-2"


async def test_only_the_refused_token_is_forgotten(wire: Wire) -> None:
    """Ten senders meet the same 401: the first one's refresh must survive the other nine."""
    old = await wire.tokens.get()
    wire.tokens.invalidate(old)
    new = await wire.tokens.get()
    wire.tokens.invalidate(old)

    assert await wire.tokens.get() == new == "emulated-token-2"


async def test_a_check_looks_past_the_cache(wire: Wire) -> None:
    """CRD-1."""
    await wire.tokens.get()
    await wire.tokens.check()
    assert wire.fcm.tokens.requests == 2
    wire.fcm.tokens.reject = True
    with pytest.raises(CredentialsRejected):
        await wire.tokens.check()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_transient(wire: Wire, status: int) -> None:
    wire.fcm.tokens.script.append(TokenAnswer(status, "<html>", "text/html"))

    with pytest.raises(TransientFailure):
        await wire.tokens.get()


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_every_other_refusal_is_a_credential_failure(wire: Wire, status: int) -> None:
    wire.fcm.tokens.script.append(TokenAnswer(status, '{"error": "invalid_client"}'))

    with pytest.raises(CredentialsRejected):
        await wire.tokens.get()


@pytest.mark.parametrize(
    "body",
    ["<html>", "{}", '{"access_token": "x"}', '{"access_token": "x", "expires_in": "soon"}',
     '{"access_token": "", "expires_in": 1}', '{"access_token": "x", "expires_in": 0}'],
)  # fmt: skip
async def test_a_success_without_a_token_is_none(wire: Wire, body: str) -> None:
    wire.fcm.tokens.script.append(TokenAnswer(200, body))

    with pytest.raises(TransientFailure, match="token_answer_unreadable"):
        await wire.tokens.get()


async def test_a_skewed_clock_is_named(wire: Wire) -> None:
    """Google says only `invalid_grant`; the difference to its Date header says what to do."""
    late = Time(wall=NOON + timedelta(hours=2))

    with pytest.raises(CredentialsRejected) as caught:
        await wire.provider(time=late).get()

    assert caught.value.hint == "HTTP 400, invalid_grant, clock skew 7200 s"


async def test_a_small_skew_is_tolerated_and_not_named(wire: Wire) -> None:
    """The assertion is dated back a little, so a clock slightly ahead still gets its token."""
    wire.time.wall -= timedelta(seconds=20)
    assert await wire.provider(time=Time(wall=NOON)).get()


async def test_a_rotated_key_is_used_without_a_restart(wire: Wire) -> None:
    """CRD-3: the vault holds a new key, Google has forgotten the old one."""
    await wire.tokens.get()
    account, key = service_account(wire.fcm.token_url, key=generate_key(), key_id="second")
    wire.fcm.tokens.public_key = key.public_key()
    with pytest.raises(CredentialsRejected):
        await wire.tokens.check()

    wire.account = account

    await wire.tokens.check()


async def test_an_unreachable_endpoint_is_transient(wire: Wire) -> None:
    provider = TokenProvider(
        wire.http, "http://127.0.0.1:9/token", ServiceAccountGrant(lambda: wire.account),
        monotonic=wire.time.ticks, wall=wire.time.now,
    )  # fmt: skip

    with pytest.raises(TransientFailure, match="token_endpoint_unreachable"):
        await provider.get()


@pytest.mark.parametrize(
    ("account", "hint"),
    [
        ("{", "ValueError"),
        ("[]", "ValueError"),
        ('{"client_email": "x"}', "missing: private_key, private_key_id, project_id, token_uri"),
    ],
)
def test_an_unusable_account_is_a_credential_failure(account: str, hint: str) -> None:
    grant = ServiceAccountGrant(lambda: parse_service_account(account))

    with pytest.raises(CredentialsRejected) as caught:
        grant.form(NOON)

    assert caught.value.hint == hint


def test_nobody_on_the_way_reads_what_proves_the_account(key: RSAPrivateKey) -> None:
    """`token_uri` comes with the account, so it is looked at whenever the account is read."""
    account, _ = service_account("http://127.0.0.1/token", key=key)
    grant = ServiceAccountGrant(lambda: account)
    assert grant.form(NOON)

    account |= {"token_uri": "http://hunter2.example/token"}
    with pytest.raises(CredentialsRejected, match="service_account_token_uri_refused") as caught:
        grant.form(NOON)

    assert "token_uri: secrets go there" in caught.value.hint
    assert "hunter2" not in repr(caught.value) + caught.value.hint


def test_a_key_that_is_none_is_not_quoted() -> None:
    account, _ = service_account("http://127.0.0.1/token", key=generate_key())
    grant = ServiceAccountGrant(lambda: {**account, "private_key": "secret-words"})

    with pytest.raises(CredentialsRejected) as caught:
        grant.form(NOON)

    assert "secret-words" not in repr(caught.value) + caught.value.hint
    assert caught.value.__cause__ is None


def test_an_account_is_read_from_a_file(tmp_path: Path, key: RSAPrivateKey) -> None:
    account, _ = service_account("http://127.0.0.1/token", key=key)
    file = tmp_path / "account.json"
    file.write_text(json.dumps(account))

    grant = ServiceAccountGrant(lambda: read_service_account(file))

    assert grant.form(NOON)["assertion"].count(".") == 2
    file.unlink()
    with pytest.raises(CredentialsRejected, match="service_account_unreadable"):
        grant.form(NOON)


async def test_the_grant_is_generic_over_its_form() -> None:
    """The same provider serves a client secret: only the form differs."""
    seen: list[str] = []

    class Secret:
        fingerprint = "f" * 64

        def form(self, now: datetime) -> dict[str, str]:
            return {"grant_type": "client_credentials", "at": now.isoformat()}

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.content.decode())
        return httpx.Response(200, json={"access_token": "t", "expires_in": "3599"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        provider = TokenProvider(
            client, "https://login.example/token", Secret(),
            monotonic=lambda: 0.0, wall=lambda: NOON,
        )  # fmt: skip
        assert await provider.get() == "t"

    assert seen == ["grant_type=client_credentials&at=2026-03-02T12%3A00%3A00%2B00%3A00"]
    assert repr(provider) == "TokenProvider(ffffffff)"


@pytest.mark.parametrize(
    ("status", "body", "hint"),
    [
        (401, {"error": "invalid_client", "error_codes": [7000222]},
         "HTTP 401, invalid_client, AADSTS7000222 (client secret expired)"),
        (400, {"error": "invalid_request", "error_codes": [90002, 4711]},
         "HTTP 400, invalid_request, AADSTS90002 (unknown tenant), AADSTS4711"),
        (400, {"error": "Kari Nordmann's account is closed"}, "HTTP 400"),
        (400, [], "HTTP 400"),
    ],
)  # fmt: skip
def test_a_hint_holds_codes_and_no_foreign_text(status: int, body: object, hint: str) -> None:
    now = datetime(2026, 3, 2, tzinfo=UTC)

    assert rejection_hint(status, json.dumps(body).encode(), date="garbage", now=now) == hint
