"""The issuer's public keys, by their ids, as it publishes them (JWKS, RFC 7517)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import httpx
import jwt
import structlog

from handlers.http import client_over

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jwt import PyJWK

log = structlog.get_logger("sagas.http")

FRESH: Final = timedelta(minutes=10)
"""After this the keys are read again, so that one which was withdrawn ends."""
KEPT: Final = timedelta(hours=1)
"""For this long an issuer that is away costs nobody his session."""
PAUSE: Final = timedelta(seconds=30)
"""The least time between two reads: forged key ids do not become requests to the issuer."""
TIMEOUT: Final = timedelta(seconds=5)
DOCUMENT_BYTES_MAX: Final = 256 * 1024


class KeysUnavailable(Exception):
    """The issuer's keys cannot be read now, so nobody can be told from anybody."""


class PublishedKeySet:
    """Keys from `url`, kept for `FRESH` and read again when an unknown one is named.

    `monotonic` counts seconds. Safe to share between tasks; one of them reads for all.
    """

    def __init__(
        self, url: str, transport: httpx.AsyncBaseTransport, *, monotonic: Callable[[], float]
    ) -> None:
        self._url = url
        self._http = client_over(transport, timeout=TIMEOUT)
        self._monotonic = monotonic
        self._keys: Mapping[str, PyJWK] = {}
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self._reading = asyncio.Lock()

    async def key(self, kid: str) -> PyJWK | None:
        """The key called `kid`; None if there is none. Raises `KeysUnavailable`."""
        if kid in self._keys and self._age() < FRESH.total_seconds():
            return self._keys[kid]
        async with self._reading:
            if self._tried_at is None or self._since(self._tried_at) >= PAUSE.total_seconds():
                await self._read()
        if self._age() > KEPT.total_seconds():
            raise KeysUnavailable
        return self._keys.get(kid)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _read(self) -> None:
        self._tried_at = self._monotonic()
        try:
            answer = await self._http.get(self._url)
            answer.raise_for_status()
            if len(answer.content) > DOCUMENT_BYTES_MAX:
                raise ValueError
            document = answer.json()
            withdrawn = document == {"keys": []}  # all of them: nobody is believed any more
            found = [] if withdrawn else jwt.PyJWKSet.from_dict(document).keys
        except (httpx.HTTPError, jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
            log.warning("keys.unread", error_class=type(error).__name__)
            return
        self._keys = {key.key_id: key for key in found if key.key_id}
        self._read_at = self._monotonic()

    def _age(self) -> float:
        return float("inf") if self._read_at is None else self._since(self._read_at)

    def _since(self, instant: float) -> float:
        return self._monotonic() - instant
