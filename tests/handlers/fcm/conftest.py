"""A service account, the emulator it belongs to, and clients of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from handlers.emulators.fcm import FcmEmulator, generate_key, service_account
from tests.handlers.fcm.wire import Time, Wire, clients

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


@pytest.fixture(scope="session")
def key() -> RSAPrivateKey:
    """One key for the whole run: making one costs half a second."""
    return generate_key()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def wire(key: RSAPrivateKey, time: Time) -> AsyncIterator[Wire]:
    """An emulator on a loopback port, and a client that gives up after 2 s."""
    emulator = FcmEmulator(public_key=key.public_key(), wall=time.now)
    async with (
        emulator as fcm,
        clients(timedelta(seconds=2)) as (http, posts),
    ):
        account, _ = service_account(fcm.token_url, key=key)
        yield Wire(fcm, http, posts, account, time)
