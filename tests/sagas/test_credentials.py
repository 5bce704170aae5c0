"""CRD-1 to CRD-3: rejected is told at once, unanswered later, and a new secret is picked up."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest_asyncio

from handlers.emulators.fcm import service_account
from handlers.emulators.portal import PortalEmulator
from handlers.emulators.portal_faults import Route
from handlers.settings import ApplicationSettings, Newest
from outbox import Relay
from outbox.testing.harness import NoJitter
from sagas.app import build_app
from sagas.demo import SIGNING_SECRET, emulated_settings
from sagas.wiring import check_and_record
from tests.end_to_end.scene import Scene, key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    import pytest

    from sagas.wiring import Application

UNAVAILABLE, REJECTED = "integration_unavailable", "credential_failure"
NEXT_SECRET = "whsec_" + "bmV4dC1zaWduaW5nLXNlY3JldC0zMi1ieXRlcy4uLi4="
ROTATED = "rotated-client-secret"


@pytest_asyncio.fixture
async def scene(database: str) -> AsyncIterator[Scene]:
    """The whole application."""
    async with Scene.on(database) as scene:
        yield scene


async def check(scene: Scene) -> Mapping[str, str]:
    """One scheduled check, ten minutes after the last, and what it led to."""
    await scene.pass_time(minutes=10)
    found = await check_and_record(scene.stage.app, scene.stage.dsn)
    await scene.drain()
    return found


async def test_nobody_answering_is_told_at_the_third_check(scene: Scene) -> None:
    """CRD-2: availability alerts only when it persists, once, and closes by itself."""
    scene.portal.script(status=503, times=None, routes=(Route.HEALTH,))
    for _ in range(2):
        assert (await check(scene))["portal"] == "unavailable"
        assert await scene.alert_types() == []

    await check(scene)
    assert await scene.alert_types() == [UNAVAILABLE] * 2  # to write, and to read back
    hints = await scene.world.rows("select distinct hint from dashboard_alerts")
    assert [row["hint"] for row in hints] == ["portal_http_503"]
    await check(scene)
    assert len(await scene.alerts()) == 2

    scene.portal.heal()
    await check(scene)
    assert await scene.alerts() == []


async def test_an_answer_in_between_begins_the_count_anew(scene: Scene) -> None:
    """CRD-2: three in a row, not three in all."""
    for outage in (True, True, False, True, True):
        scene.portal.heal()
        if outage:
            scene.portal.script(status=503, times=None, routes=(Route.HEALTH,))
        await check(scene)

    assert await scene.alert_types() == []


async def test_a_rejection_is_told_at_the_first_check_with_its_hint(scene: Scene) -> None:
    """CRD-1, CRD-2: a fresh token and a harmless call, and the alert says what to mend."""
    issued = scene.portal.tokens.issued
    assert set((await check(scene)).values()) == {"accepted"}
    assert scene.portal.tokens.issued == issued + 2
    assert len(scene.portal.requests(Route.HEALTH)) == 2
    scene.portal.reject_credentials()

    await check(scene)

    assert await scene.alert_types() == [REJECTED, REJECTED]
    hints = await scene.world.rows("select distinct hint from dashboard_alerts")
    assert [row["hint"] for row in hints] == [
        "HTTP 401, invalid_client, AADSTS7000222 (client secret expired)"
    ]


async def test_a_clock_that_is_off_stands_in_the_alert(scene: Scene) -> None:
    """CRD-2: signatures are refused beyond five minutes; nobody need renew a secret for that."""
    mentor, _ = await scene.known_mentor(await scene.world.organisation())
    scene.portal.skew = timedelta(seconds=400)
    await scene.pause(mentor)
    await scene.drain()

    (hint,) = await scene.world.rows("select hint from dashboard_alerts where type = %s", REJECTED)
    assert hint["hint"] == (
        "timestamp_out_of_tolerance; the receiver's clock is 400 s ahead of ours, "
        "set the clock first"
    )


@asynccontextmanager
async def living(scene: Scene, **settings: object) -> AsyncIterator[tuple[Application, Relay]]:
    """A relay of its own that reads its secrets where `settings` say."""
    account, _ = service_account(scene.fcm.token_url, key=key())
    given = emulated_settings(scene.fcm, scene.portal, json.dumps(account))
    app = build_app(ApplicationSettings(**{**given, **settings}), clock=scene.stage.clock)
    async with Relay(app, scene.stage.dsn, random=NoJitter()).opened() as relay:
        yield app, relay


async def test_a_new_client_secret_is_used_without_a_restart(scene: Scene, tmp_path: Path) -> None:
    """CRD-3: the file is replaced while the relay runs; what waited leaves at the next check."""
    file = tmp_path / "client-secret"
    file.write_text("emulated-client-secret\n", encoding="utf-8")
    mentor, _ = await scene.known_mentor(await scene.world.organisation())
    async with living(scene, hlf_portal_client_secret_file=file) as (_, relay):
        scene.portal.tokens.client_secret = ROTATED
        scene.portal.tokens.expire()
        await scene.pause(mentor)
        await relay.drain()
        assert REJECTED in await scene.alert_types()

        file.write_text(ROTATED, encoding="utf-8")
        await scene.pass_time(seconds=31)
        await relay.drain()

    assert await scene.sync_of(mentor) == (2, "delivered")
    assert await scene.alerts() == []


async def test_a_secret_changed_in_the_vault_is_used_without_a_restart(scene: Scene) -> None:
    """SEC-1, CRD-3: the portal's secrets are the vault's; one is wrong there, then mended."""
    for name, secret in (
        ("portal_client_secret", "mistyped"),
        ("portal_hmac_current", SIGNING_SECRET),
    ):
        await scene.world.conn.execute(
            "insert into vault._plain (name, secret) values (%s, %s)", [name, secret]
        )
    mentor, _ = await scene.known_mentor(await scene.world.organisation())
    given = {
        "vault_database_url": scene.stage.dsn,
        "hlf_portal_client_secret": "not asked for",
        "hlf_portal_webhook_secrets": "",
    }
    async with living(scene, **given) as (_, relay):
        await scene.pause(mentor)
        await relay.drain()
        assert REJECTED in await scene.alert_types()

        await scene.world.conn.execute(
            "update vault._plain set secret = 'emulated-client-secret'"
            " where name = 'portal_client_secret'"
        )
        async with asyncio.timeout(60):  # it is read beside the relay, which waits for nobody
            while await scene.alerts():
                await scene.pass_time(seconds=31)
                await relay.drain()

    assert await scene.sync_of(mentor) == (2, "delivered")


async def test_signing_secrets_change_while_two_are_valid(scene: Scene, tmp_path: Path) -> None:
    """CRD-3: new one in beside the old, proved, old one out; not one call is refused."""
    file = tmp_path / "signing-secrets"
    file.write_text(SIGNING_SECRET, encoding="utf-8")
    mentor, _ = await scene.known_mentor(await scene.world.organisation())
    new = Newest(ApplicationSettings(hlf_portal_webhook_secrets=NEXT_SECRET))().webhook_secrets()
    assert isinstance(scene.portal, PortalEmulator)
    old = scene.portal.secrets
    async with living(scene, hlf_portal_webhook_secrets_file=file) as (_, relay):
        for accepted, sent in (
            (old, SIGNING_SECRET),
            ((*old, *new), SIGNING_SECRET),
            ((*old, *new), f"{NEXT_SECRET},{SIGNING_SECRET}"),
            (new, f"{NEXT_SECRET},{SIGNING_SECRET}"),
            (new, NEXT_SECRET),
        ):
            scene.portal.secrets = accepted
            file.write_text(sent, encoding="utf-8")
            version = await scene.bump(mentor)
            await relay.drain()
            assert await scene.sync_of(mentor) == (version, "delivered")

    assert await scene.alerts() == []
    assert 401 not in {each.status for each in scene.portal.log}


async def test_an_unusable_secret_is_rejected_credentials_and_not_quoted(
    scene: Scene, tmp_path: Path
) -> None:
    """CRD-2, P12: a file cut short while it was written."""
    file = tmp_path / "signing-secrets"
    file.write_text("whsec_hunter2", encoding="utf-8")
    mentor, _ = await scene.known_mentor(await scene.world.organisation())
    async with living(scene, hlf_portal_webhook_secrets_file=file) as (_, relay):
        await scene.pause(mentor)
        await relay.drain()

    (alert,) = await scene.world.rows("select * from dashboard_alerts where type = %s", REJECTED)
    assert alert["hint"].startswith("webhook secret number 1 is not usable")
    assert "hunter2" not in str(alert)


def test_the_env_file_is_read_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CRD-3: `.env` is replaced; what cannot be read leaves the settings before it in force."""
    monkeypatch.chdir(tmp_path)
    env = tmp_path / ".env"
    env.write_text("HLF_PORTAL_CLIENT_SECRET=first\n", encoding="utf-8")
    newest = Newest(ApplicationSettings(), ApplicationSettings)
    assert newest().portal_client_secret() == "first"

    env.write_text("HLF_PORTAL_CLIENT_SECRET=second-one\n", encoding="utf-8")
    assert newest().portal_client_secret() == "second-one"
    env.write_text("HLF_PORTAL_WEBHOOK_SECRETS=whsec_cut\n", encoding="utf-8")
    assert newest().portal_client_secret() == "second-one"
    env.unlink()
    env.write_text("HLF_PORTAL_CLIENT_SECRET=third\n", encoding="utf-8")
    assert newest().portal_client_secret() == "third"


def test_a_secret_file_that_is_gone_is_no_secret(tmp_path: Path) -> None:
    settings = ApplicationSettings(
        hlf_portal_client_secret="value",  # noqa: S106 - guards nothing
        hlf_portal_client_secret_file=tmp_path / "missing",
    )

    assert settings.portal_client_secret() == ""
