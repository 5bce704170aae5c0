"""The webhook adapter: the portal contract over HTTP. One call, one answer, no retry."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import httpx
import structlog

from handlers.portal.answers import (
    BODY_BYTES_MAX,
    Answer,
    Credentials,
    HttpReply,
    ReadAnswer,
    Refused,
    Sent,
    Unclear,
    body_of,
    read_answer,
    set_answer,
)
from handlers.portal.port import Health, Healthy, Listing, WantedVisibility
from handlers.portal.signature import Signer, SigningSecret, visibility_webhook_id
from handlers.portal.wire import (
    AuthMode,
    HealthAnswer,
    ListingPage,
    StoredVisibility,
    VisibilityData,
    VisibilitySet,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from uuid import UUID

    from handlers.token_provider import TokenProvider
    from outbox.clock import Clock

TIMEOUT: Final = timedelta(seconds=15)
CONNECTIONS_MAX: Final = 4
SKEW_WARNED: Final = timedelta(seconds=120)
PAGE_LIMIT: Final = 200
PAGES_MAX: Final = 10_000

_UNAUTHORISED: Final = (401, 403)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PortalAuth:
    """How requests are authenticated; `secrets` is asked at each one, so a rotation is picked up.

    The mode decides what is used: `tokens` may be None where it sends none.
    """

    mode: AuthMode
    tokens: TokenProvider | None
    secrets: Callable[[], Sequence[SigningSecret]]

    def __post_init__(self) -> None:
        """Refuse a mode that lacks its means."""
        if self.mode.has_token and self.tokens is None:
            problem = f"auth mode {self.mode} needs a token provider"
            raise ValueError(problem)


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    webhook_id: str
    body: bytes = b""
    params: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


class PortalClient:
    """`VisibilityPort` over the webhook contract.

    Each call ends within `timeout`, reads at most 64 kB and follows no redirect. After a 401 or
    403 the token is refreshed and the call sent once more, under the same id; that is still one
    attempt.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        base_url: str,
        auth: PortalAuth,
        *,
        clock: Clock,
        timeout: timedelta = TIMEOUT,
    ) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._auth = auth
        self._clock = clock
        self._timeout = timeout

    async def set(self, wanted: WantedVisibility, *, newest: int | None = None) -> Answer:
        """Post one state. Raises what the token endpoint raises, and nothing else."""
        call = _Call(
            "POST",
            "/v1/visibility",
            visibility_webhook_id(wanted.mentor_id, wanted.version),
            _set_body(wanted),
        )
        reply = await self._send(call)
        if isinstance(reply, Unclear):
            return reply
        known = wanted.version if newest is None else max(newest, wanted.version)
        sent = Sent(wanted.mentor_id, wanted.version, wanted.visible, known)
        return set_answer(reply, sent, now=self._clock.now())

    async def read(self, mentor_id: UUID, *, etag: str | None = None) -> ReadAnswer:
        """Read one mentor's state, conditionally if an `etag` is given."""
        condition = (("If-None-Match", etag),) if etag else ()
        reply = await self._send(_get(f"/v1/visibility/{mentor_id}", headers=condition))
        if isinstance(reply, Unclear):
            return reply
        return read_answer(reply, mentor_id, now=self._clock.now())

    async def pages(self, *, limit: int = PAGE_LIMIT) -> AsyncIterator[ListingPage]:
        """Yield one page after the other until the last one.

        Raises `ListingBroken` at a page that cannot be read or at a cursor given out before.
        """
        cursor: str | None = None
        seen: set[str] = set()
        for _ in range(PAGES_MAX):
            page = await self._page(limit, cursor)
            yield page
            cursor = page.next_cursor
            if cursor is None:
                return
            if cursor in seen:
                raise ListingBroken("cursor_repeated")
            seen.add(cursor)
        raise ListingBroken("too_many_pages")

    async def listing(self, *, limit: int = PAGE_LIMIT) -> Listing:
        """Read all mentors and check the listing against its promises.

        Order is not checked: databases sort uuids differently, and nothing here depends on it.
        """
        items: dict[UUID, StoredVisibility] = {}
        snapshot_at = None
        problem: str | None = None
        try:
            async for page in self.pages(limit=limit):
                snapshot_at = snapshot_at or page.snapshot_at
                if page.snapshot_at != snapshot_at:
                    problem = problem or "snapshot_moved"
                for item in page.items:
                    if item.mentor_id in items:
                        problem = problem or "mentor_repeated"
                    items[item.mentor_id] = item
        except ListingBroken as broken:
            problem = problem or broken.reason
        return Listing(problem is None, tuple(items.values()), snapshot_at, problem)

    async def health(self) -> Health:
        """Ask who we are, always with a fresh token; warn when the clocks differ by over 120 s."""
        if self._auth.mode.has_token and self._auth.tokens is not None:
            await self._auth.tokens.check()
        asked_at = self._clock.now()
        reply = await self._send(_get("/v1/health"))
        if isinstance(reply, Unclear):
            return reply
        answer = body_of(HealthAnswer, reply, now=self._clock.now())
        if not isinstance(answer, HealthAnswer):
            return answer
        skew = answer.time - asked_at
        skewed = abs(skew) > SKEW_WARNED
        if skewed:
            log.warning("portal.clock_skewed", skew_s=round(skew.total_seconds()))
        return Healthy(skew, skewed)

    async def _page(self, limit: int, cursor: str | None) -> ListingPage:
        params = (("limit", str(limit)), *((("cursor", cursor),) if cursor is not None else ()))
        reply = await self._send(_get("/v1/visibility", params=params))
        answer = (
            reply
            if isinstance(reply, Unclear)
            else body_of(ListingPage, reply, now=self._clock.now())
        )
        if isinstance(answer, ListingPage):
            return answer
        raise ListingBroken(_problem(answer))

    async def _send(self, call: _Call) -> HttpReply | Unclear:
        """Send once, and once more with a fresh token if the first one was refused."""
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                token = await self._token()
                reply = await self._once(call, token)
                if token is None or reply.status not in _UNAUTHORISED:
                    return reply
                assert self._auth.tokens is not None
                self._auth.tokens.invalidate(token)
                return await self._once(call, await self._token())
        except (TimeoutError, httpx.TimeoutException):
            return Unclear("timeout")
        except httpx.TransportError:
            return Unclear("connection")

    async def _token(self) -> str | None:
        tokens = self._auth.tokens if self._auth.mode.has_token else None
        return None if tokens is None else await tokens.get()

    async def _once(self, call: _Call, token: str | None) -> HttpReply:
        headers = {"Accept": "application/json", **dict(call.headers)}
        if call.method == "POST":
            headers["Content-Type"] = "application/json"
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if self._auth.mode.has_signature:
            signer = Signer(self._auth.secrets(), self._clock)
            headers |= signer.headers(call.webhook_id, call.body)
        else:
            headers["webhook-id"] = call.webhook_id
        request = self._http.build_request(
            call.method,
            f"{self._base_url}{call.path}",
            content=call.body or None,
            params=call.params or None,
            headers=headers,
            timeout=self._timeout.total_seconds(),
        )
        response = await self._http.send(request, stream=True, follow_redirects=False)
        try:
            return HttpReply(
                status=response.status_code,
                body=await _bounded(response),
                content_type=response.headers.get("Content-Type", ""),
                retry_after=response.headers.get("Retry-After"),
                etag=response.headers.get("ETag"),
            )
        finally:
            await response.aclose()


class ListingBroken(Exception):
    """The listing stopped making sense; `reason` is a short code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def _bounded(response: httpx.Response) -> bytes | None:
    """Read a body of at most 64 kB; None if it is longer."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            return None
    return bytes(body)


def _get(
    path: str,
    *,
    params: tuple[tuple[str, str], ...] = (),
    headers: tuple[tuple[str, str], ...] = (),
) -> _Call:
    return _Call("GET", path, f"get_{uuid4().hex}", params=params, headers=headers)


def _set_body(wanted: WantedVisibility) -> bytes:
    body = VisibilitySet(
        timestamp=wanted.changed_at.astimezone(UTC),
        data=VisibilityData(
            organisation=wanted.organisation,
            mentor_id=wanted.mentor_id,
            version=wanted.version,
            visible=wanted.visible,
            reason=wanted.reason,
            effective_at=wanted.effective_at.astimezone(UTC),
        ),
    )
    return body.model_dump_json().encode()


def _problem(answer: Refused) -> str:
    match answer:
        case Unclear(reason):
            return reason
        case Credentials(code):
            return f"credentials:{code}"
        case _:
            return type(answer).__name__.lower()
