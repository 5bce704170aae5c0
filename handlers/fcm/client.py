"""FCM HTTP v1: one request per device, one answer, and nothing repeated on its own account.

FCM has no idempotency key. So the client tells apart what never left (may be tried again) and what
may have arrived (may not). Its one re-send follows a 401, which proves that nothing was delivered.
The client is our own and runs on the server (ARC-6).
Source: FCM HTTP v1 reference, `projects.messages.send`; FCM guide, "Send at scale" (10 s or more).
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import httpx

from handlers.fcm.answers import Ambiguous, AuthRejected, SendResult, Transient, classify
from handlers.fcm.encode import PROBE, Push, encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from handlers.http import Poster
    from handlers.token_provider import TokenProvider

SEND_TIMEOUT: Final = timedelta(seconds=10)
"""FCM's own inner timeout; waiting less would make answers ambiguous for nothing."""

_NEVER_LEFT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
)


class FcmClient:
    """Sends pushes of one Firebase project; safe to share between any number of tasks.

    `now` (aware UTC) dates expirations and turns Retry-After dates into waits. `timeout` bounds one
    request from its first byte to the end of its answer.
    """

    def __init__(  # noqa: PLR0913 - all named, none with a default that hides a decision
        self,
        http: Poster,
        tokens: TokenProvider,
        *,
        base_url: str,
        project_id: str,
        now: Callable[[], datetime],
        timeout: timedelta = SEND_TIMEOUT,
    ) -> None:
        self._http = http
        self._tokens = tokens
        self._url = f"{base_url.rstrip('/')}/v1/projects/{project_id}/messages:send"
        self._now = now
        self._timeout = timeout

    async def send(self, push: Push) -> SendResult:
        """Send `push` once, and once more with a fresh access token if the first was refused.

        Raises PushTooLarge before anything leaves; CredentialsRejected or TransientFailure if there
        is no access token to be had, in which case nothing was sent either.
        """
        return await self._post(encode(push, now=self._now()))

    async def probe(self) -> SendResult:
        """Check credentials and project: everything is validated, nothing delivered."""
        return await self._post(PROBE)

    async def check_token(self) -> None:
        """Fetch a new access token past the cache. Raises as TokenProvider.check does."""
        await self._tokens.check()

    async def _post(self, content: bytes) -> SendResult:
        token = await self._tokens.get()
        answer = await self._exchange(content, token)
        if isinstance(answer, AuthRejected) and answer.refresh:
            self._tokens.invalidate(token)
            answer = await self._exchange(content, await self._tokens.get())
        return answer

    async def _exchange(self, content: bytes, token: str) -> SendResult:
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json; charset=utf-8",
        }
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                response = await self._http.post(self._url, content=content, headers=headers)
        except _NEVER_LEFT:
            return Transient("fcm_unreachable")
        except (httpx.TimeoutException, TimeoutError):
            return Ambiguous("fcm_timed_out")
        except httpx.RequestError:
            return Ambiguous("fcm_connection_lost")
        return classify(response.status_code, response.headers, response.content, now=self._now())
