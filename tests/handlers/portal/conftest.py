"""The emulated portal on loopback, by both its ways, and a client that speaks to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from uuid import UUID

import pytest

from handlers.emulators.dataverse import DataverseEmulator
from handlers.emulators.portal import CLIENT_ID, CLIENT_SECRET, PortalEmulator
from handlers.http import http_client
from handlers.portal import (
    AuthMode,
    DataverseClient,
    EntraGrant,
    PortalAuth,
    PortalClient,
    Reason,
    SigningSecret,
    WantedVisibility,
)
from handlers.ports import DATAVERSE, WEBHOOK
from handlers.token_provider import TokenProvider
from outbox.clock import VirtualClock

NOW = datetime(2026, 3, 2, 0, 5, 4, tzinfo=UTC)
SECRETS = (SigningSecret(b"a" * 32), SigningSecret(b"b" * 32))
MENTOR = UUID("9c4a3a51-4b7e-49be-8f24-5d6a77f3c0aa")

Client: TypeAlias = PortalClient | DataverseClient
Emulator: TypeAlias = PortalEmulator | DataverseEmulator
ClientFactory: TypeAlias = Callable[..., Client]


def state(version: int = 1, *, visible: bool = False, mentor_id: UUID = MENTOR) -> WantedVisibility:
    return WantedVisibility(
        mentor_id=mentor_id,
        organisation="HLF",
        version=version,
        visible=visible,
        reason=Reason.CERTIFICATE_LAPSED,
        effective_at=NOW - timedelta(hours=1),
        changed_at=NOW,
    )


@pytest.fixture
def make_state() -> Callable[..., WantedVisibility]:
    return state


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture(params=[WEBHOOK, DATAVERSE])
def channel(request: pytest.FixtureRequest) -> str:
    """SYN-1: what holds for one way to the portal holds for the other, or the test names one."""
    found: str = request.param
    return found


@pytest.fixture
async def portal(clock: VirtualClock, channel: str) -> AsyncIterator[Emulator]:
    made: Emulator = (
        DataverseEmulator(clock=clock)
        if channel == DATAVERSE
        else PortalEmulator(clock=clock, secrets=SECRETS)
    )
    async with made as emulator:
        yield emulator


@pytest.fixture
async def make_client(portal: Emulator, clock: VirtualClock) -> AsyncIterator[ClientFactory]:
    """Build clients of the emulated portal; every knob has the value that works."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            http_client(timeout=timedelta(seconds=5), connections_max=4)
        )

        def make(
            *,
            mode: AuthMode = AuthMode.OAUTH_HMAC,
            secrets: tuple[SigningSecret, ...] = SECRETS[:1],
            client_secret: str = CLIENT_SECRET,
            timeout: timedelta = timedelta(seconds=5),
            base_url: str | None = None,
        ) -> Client:
            grant = EntraGrant(CLIENT_ID, lambda: client_secret, "https://portal.invalid/.default")
            tokens = TokenProvider(
                http,
                portal.token_url,
                grant,
                monotonic=lambda: clock.now().timestamp(),
                wall=clock.now,
            )
            url = base_url or portal.base_url
            if isinstance(portal, DataverseEmulator):
                return DataverseClient(http, url, tokens, clock=clock, timeout=timeout)
            auth = PortalAuth(mode, tokens if mode.has_token else None, lambda: secrets)
            return PortalClient(http, url, auth, clock=clock, timeout=timeout)

        yield make


@pytest.fixture
def client(make_client: ClientFactory) -> Client:
    return make_client()
