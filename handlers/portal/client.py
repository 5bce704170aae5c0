"""The webhook adapter: the portal contract over HTTP. One call, one answer, no retry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from handlers.portal.answers import (
    Answer,
    HttpReply,
    ReadAnswer,
    Sent,
    Unclear,
    body_of,
    read_answer,
    set_answer,
)
from handlers.portal.port import (
    Health,
    Listing,
    ListingBroken,
    WantedVisibility,
    healthy,
    problem_of,
)
from handlers.portal.sending import TIMEOUT, Sender
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
    from datetime import timedelta
    from uuid import UUID

    import httpx

    from handlers.token_provider import TokenProvider
    from outbox.clock import Clock

PAGE_LIMIT: Final = 200
PAGES_MAX: Final = 10_000


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
        tokens = auth.tokens if auth.mode.has_token else None
        self._sender = Sender(http, tokens, timeout=timeout)

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
        await self._sender.check_token()
        asked_at = self._clock.now()
        reply = await self._send(_get("/v1/health"))
        if isinstance(reply, Unclear):
            return reply
        answer = body_of(HealthAnswer, reply, now=self._clock.now())
        if not isinstance(answer, HealthAnswer):
            return answer
        return healthy(answer.time - asked_at)

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
        raise ListingBroken(problem_of(answer))

    async def _send(self, call: _Call) -> HttpReply | Unclear:
        return await self._sender.send(lambda: self._request(call))

    def _request(self, call: _Call) -> httpx.Request:
        """One try of `call`; signature and timestamp are that try's own."""
        headers = {"Accept": "application/json", **dict(call.headers)}
        if call.method == "POST":
            headers["Content-Type"] = "application/json"
        if self._auth.mode.has_signature:
            signer = Signer(self._auth.secrets(), self._clock)
            headers |= signer.headers(call.webhook_id, call.body)
        else:
            headers["webhook-id"] = call.webhook_id
        return self._http.build_request(
            call.method,
            f"{self._base_url}{call.path}",
            content=call.body or None,
            params=call.params or None,
            headers=headers,
            timeout=self._timeout.total_seconds(),
        )


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
