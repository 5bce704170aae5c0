"""Sends one authorised request to a portal: bounded, never repeated but for a refreshed token."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import httpx

from handlers.portal.answers import BODY_BYTES_MAX, HttpReply, Unclear

if TYPE_CHECKING:
    from collections.abc import Callable

    from handlers.token_provider import TokenProvider

TIMEOUT: Final = timedelta(seconds=15)

_UNAUTHORISED: Final = (401, 403)
_REQUEST_ID_HEADERS: Final = ("x-ms-service-request-id", "REQ_ID")
_REQUEST_ID_CHARS: Final = frozenset("0123456789abcdefABCDEF-")
_REQUEST_ID_CHARS_MAX: Final = 64


class Sender:
    """Sends what `make` builds, and once more with a fresh token if the first one was refused.

    `tokens` None sends no bearer token, and a refusal is then an answer like any other. All of it
    ends within `timeout`; at most `bytes_max` of the answer are read, and no redirect is followed.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        tokens: TokenProvider | None,
        *,
        timeout: timedelta = TIMEOUT,
    ) -> None:
        self._http = http
        self._tokens = tokens
        self._timeout = timeout

    async def send(
        self, make: Callable[[], httpx.Request], *, bytes_max: int = BODY_BYTES_MAX
    ) -> HttpReply | Unclear:
        """Send once. Raises what the token endpoint raises, and nothing else.

        `make` is called for each try, so that what belongs to the try (a timestamp, a signature, an
        id) is made anew; the bearer token is added here.
        """
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                token = await self._token()
                reply = await self._once(make(), token, bytes_max)
                if token is None or reply.status not in _UNAUTHORISED:
                    return reply
                assert self._tokens is not None
                self._tokens.invalidate(token)
                return await self._once(make(), await self._token(), bytes_max)
        except (TimeoutError, httpx.TimeoutException):
            return Unclear("timeout")
        except httpx.TransportError:
            return Unclear("connection")

    async def check_token(self) -> None:
        """Fetch a token whatever is cached. Raises as the token endpoint does."""
        if self._tokens is not None:
            await self._tokens.check()

    async def _token(self) -> str | None:
        return None if self._tokens is None else await self._tokens.get()

    async def _once(self, request: httpx.Request, token: str | None, bytes_max: int) -> HttpReply:
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        response = await self._http.send(request, stream=True, follow_redirects=False)
        try:
            return HttpReply(
                status=response.status_code,
                body=await _bounded(response, bytes_max),
                content_type=response.headers.get("Content-Type", ""),
                retry_after=response.headers.get("Retry-After"),
                etag=response.headers.get("ETag"),
                date=_instant(response.headers.get("Date")),
                request_id=_request_id(response.headers),
            )
        finally:
            await response.aclose()


async def _bounded(response: httpx.Response, bytes_max: int) -> bytes | None:
    """Read a body of at most `bytes_max`; None if it is longer."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > bytes_max:
            return None
    return bytes(body)


def _instant(date: str | None) -> datetime | None:
    try:
        instant = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _request_id(headers: httpx.Headers) -> str | None:
    """The receiver's name for this request, if it looks like one: it is stored and logged."""
    for name in _REQUEST_ID_HEADERS:
        given = str(headers.get(name, ""))
        if given and len(given) <= _REQUEST_ID_CHARS_MAX and set(given) <= _REQUEST_ID_CHARS:
            return given
    return None
