"""Access tokens for an outside system: cached, fetched once for all who wait, never logged (CRD-5).

One provider serves one credential. What is posted to the token endpoint is the `Grant`'s affair
(a signed assertion for Google, a client secret for Entra ID); everything else is the same for both.
Source: RFC 6749 §4.4 and §5.2, RFC 7523; the 300 s and 60 s rules are ours.
"""

from __future__ import annotations

import asyncio
import json
import re
from copy import copy
from dataclasses import dataclass
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Protocol

import httpx

from outbox.errors import CredentialsRejected, TransientFailure
from outbox.retry_after import parse_retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

REFRESH_BEFORE_SECONDS = 300.0
"""With less than this left a new token is fetched; the old one stays usable meanwhile."""
USABLE_BEFORE_SECONDS = 60.0
"""With less than this left the old token is no longer used."""
REFRESH_PAUSE_SECONDS = 30.0
"""After a refresh that failed for now, the old token is used this long before the next try."""
SKEW_WORTH_TELLING = timedelta(seconds=60)

_OK = 200
_CLIENT_ERRORS = range(400, 500)
_TRANSIENT_CODES = frozenset({408, 429})
_ERROR_CODE = re.compile(r"[a-z][a-z_]{0,63}")
_ENTRA_MEANINGS = {
    7000215: "wrong client secret",
    7000222: "client secret expired",
    700016: "unknown application",
    90002: "unknown tenant",
    70011: "bad scope",
    500011: "resource not found",
}


class Grant(Protocol):
    """How we prove who we are; asked at each exchange, so a rotated secret is picked up at once."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of what identifies the credential; safe to show, no secret in it."""
        ...

    def form(self, now: datetime) -> Mapping[str, str]:
        """The form fields of one token request made at `now` (aware UTC).

        Raises CredentialsRejected if the credential itself cannot be read or used.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Held:
    token: str
    expires_at: float
    lifetime: float

    def fresh(self, now: float) -> bool:
        return self.expires_at - now > min(REFRESH_BEFORE_SECONDS, self.lifetime / 2)

    def usable(self, now: float) -> bool:
        return self.expires_at - now > min(USABLE_BEFORE_SECONDS, self.lifetime / 4)


class TokenProvider:
    """Hands out a valid access token; ten callers who find it expired cause one exchange.

    They share its failure, too: an endpoint that hangs costs them one timeout, not ten in a row.
    Expiry runs on `monotonic`, so a stepped wall clock neither prolongs nor shortens a token;
    `wall` (aware UTC) dates the grant and reveals a skewed clock. A token that lives less than ten
    minutes is refreshed at half its life instead of 300 s before its end.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        token_url: str,
        grant: Grant,
        *,
        monotonic: Callable[[], float],
        wall: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._token_url = token_url
        self._grant = grant
        self._monotonic = monotonic
        self._wall = wall
        self._held: _Held | None = None
        self._quiet_until = float("-inf")
        self._failure: CredentialsRejected | TransientFailure | None = None
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        """The fingerprint alone."""
        return f"TokenProvider({self._grant.fingerprint[:8]})"

    async def get(self) -> str:
        """A token good for at least a minute.

        Raises CredentialsRejected if the endpoint refuses us (at once, even while an old token
        would still do: a human has to know), TransientFailure if it cannot be reached or fails and
        the old token is used up.
        """
        if (held := self._current()) is not None:
            return held.token
        failure_before = self._failure
        async with self._lock:
            if (held := self._current()) is not None:
                return held.token
            if self._failure is not None and self._failure is not failure_before:
                raise copy(self._failure)  # whoever we waited for asked just now, also for us
            try:
                return await self._exchange()
            except TransientFailure as failure:
                now = self._monotonic()
                if self._held is not None and self._held.usable(now):
                    self._quiet_until = now + REFRESH_PAUSE_SECONDS
                    return self._held.token
                self._failure = copy(failure)
                raise
            except CredentialsRejected as failure:
                self._failure = copy(failure)
                raise

    def invalidate(self, token: str) -> None:
        """Forget `token` because its receiver refused it; a newer one is kept."""
        if self._held is not None and self._held.token == token:
            self._held = None

    async def check(self) -> None:
        """Fetch a token whatever is cached, and keep it. Raises as `get` does."""
        async with self._lock:
            await self._exchange()

    def _current(self) -> _Held | None:
        now = self._monotonic()
        held = self._held
        if held is None:
            return None
        if held.fresh(now) or (held.usable(now) and now < self._quiet_until):
            return held
        return None

    async def _exchange(self) -> str:
        sent_at = self._monotonic()
        form = self._grant.form(self._wall())
        try:
            response = await self._client.post(self._token_url, data=dict(form))
        except httpx.TimeoutException as error:
            reason = "token_endpoint_timed_out"
            raise TransientFailure(reason) from error
        except httpx.TransportError as error:
            reason = "token_endpoint_unreachable"
            raise TransientFailure(reason) from error
        if response.status_code != _OK:
            raise self._refusal(response)
        self._held = _read_token(response.content, sent_at)
        self._quiet_until, self._failure = float("-inf"), None
        return self._held.token

    def _refusal(self, response: httpx.Response) -> CredentialsRejected | TransientFailure:
        status = response.status_code
        if status not in _CLIENT_ERRORS or status in _TRANSIENT_CODES:
            wait = parse_retry_after(response.headers.get("retry-after"), now=self._wall())
            return TransientFailure(f"token_endpoint_http_{status}", wait)
        return CredentialsRejected(
            "token_request_rejected",
            rejection_hint(
                status, response.content, date=response.headers.get("date"), now=self._wall()
            ),
        )


def rejection_hint(status: int, body: bytes, *, date: str | None, now: datetime) -> str:
    """One line for a human out of a refused token request, without any foreign text.

    Names the OAuth error code, known Entra ID error numbers, and for `invalid_grant` the difference
    between the `Date` header and `now` if it is more than a minute.
    """
    answer = _json_object(body)
    parts = [f"HTTP {status}"]
    code = answer.get("error")
    if isinstance(code, str) and _ERROR_CODE.fullmatch(code):
        parts.append(code)
    numbers = answer.get("error_codes")
    if isinstance(numbers, list):
        parts += [_entra(number) for number in numbers[:3] if isinstance(number, int)]
    skew = _skew(date, now)
    if code == "invalid_grant" and abs(skew) > SKEW_WORTH_TELLING:
        parts.append(f"clock skew {round(abs(skew).total_seconds())} s")
    return ", ".join(parts)


def _entra(number: int) -> str:
    meaning = _ENTRA_MEANINGS.get(number)
    return f"AADSTS{number}" + (f" ({meaning})" if meaning else "")


def _skew(date: str | None, now: datetime) -> timedelta:
    """How far our clock is ahead of the receiver's; zero if it did not say."""
    try:
        theirs = parsedate_to_datetime(date or "")
    except ValueError:
        return timedelta(0)
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=UTC)
    return now - theirs


def _read_token(body: bytes, sent_at: float) -> _Held:
    answer = _json_object(body)
    token, lives = answer.get("access_token"), answer.get("expires_in")
    try:
        lifetime = float(lives) if isinstance(lives, (int, float, str)) else 0.0
    except ValueError:
        lifetime = 0.0
    if not isinstance(token, str) or not token or not 0 < lifetime < float("inf"):
        reason = "token_answer_unreadable"
        raise TransientFailure(reason)
    return _Held(token, sent_at + lifetime, lifetime)


def _json_object(body: bytes) -> dict[str, object]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
