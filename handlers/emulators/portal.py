"""The portal on loopback: the contract's receiver with its token endpoint, misbehaving on demand.

Real HTTP, real compare-and-set, real signature and token checks. `script`, `outage`, `heal` and the
other verbs decide what goes wrong; `log` tells what arrived. Time comes from the injected clock.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self
from uuid import UUID

from aiohttp import web
from pydantic import ValidationError

from handlers.emulators.portal_bodies import (
    LoggedRequest,
    error_body,
    outcome_in,
    row_body,
    utc,
)
from handlers.emulators.portal_faults import Fault, FaultScript, ListingFault, Route, Silence
from handlers.emulators.portal_store import PortalStore, Row, UnknownCursor, Verdict
from handlers.emulators.portal_tokens import EXPIRED_SECRET, TokenDesk
from handlers.emulators.server import LoopbackServer
from handlers.portal.signature import (
    SignatureRefused,
    Signer,
    SigningSecret,
    visibility_webhook_id,
)
from handlers.portal.wire import LISTING_LIMIT_MAX, AuthMode, VisibilitySet
from outbox.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from types import TracebackType

    from outbox.clock import Clock

CLIENT_ID: Final = "peer-mentor-backend"
CLIENT_SECRET: Final = "emulated-client-secret"  # noqa: S105  # guards nothing but the emulator
TOKEN_PATH: Final = "/oauth2/v2.0/token"  # noqa: S105  # a path

_BODY_BYTES_MAX: Final = 20_000
_HTML: Final = b"<!doctype html><title>Bad gateway</title>"
_API_ROUTES: Final = frozenset({Route.SET, Route.READ, Route.LIST, Route.HEALTH})


class _Refusal(Exception):
    """An answer of the contract other than success."""

    def __init__(self, status: int, code: str, **current: object) -> None:
        super().__init__(code)
        self.status, self.code, self.current = status, code, current


class PortalEmulator:
    """The receiver of the portal contract; listens while its context is entered.

    `secrets` are the signing secrets it accepts, all of them; `publish_delay` is how far the public
    page runs behind. Faults outlive nothing: `heal` removes them all and lets hanging requests go.
    """

    def __init__(  # noqa: PLR0913  # each names one knob of the receiver
        self,
        *,
        clock: Clock | None = None,
        secrets: Sequence[SigningSecret] = (),
        auth: AuthMode = AuthMode.OAUTH_HMAC,
        publish_delay: timedelta = timedelta(0),
        client_id: str = CLIENT_ID,
        client_secret: str = CLIENT_SECRET,
        port: int = 0,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.store = PortalStore(publish_delay)
        self.tokens = TokenDesk(client_id, client_secret)
        self.log: list[LoggedRequest] = []
        self.secrets: tuple[SigningSecret, ...] = tuple(secrets)
        self.auth = auth
        self.skew = timedelta(0)
        self.in_flight_max = 0
        self._in_flight = 0
        self._faults = FaultScript()
        self._listing_fault: ListingFault | None = None
        self._denied: set[UUID] = set()
        self._released = asyncio.Event()
        self._server = LoopbackServer(self.application(), port=port)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Listen on a free loopback port, or on the one given."""
        await self._stack.enter_async_context(self._server)
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let hanging requests go and stop listening."""
        self.heal()
        await self._stack.aclose()

    @property
    def base_url(self) -> str:
        """What `HLF_PORTAL_BASE_URL` is set to."""
        return self._server.base_url

    @property
    def token_url(self) -> str:
        """What `HLF_PORTAL_TOKEN_URL` is set to."""
        return f"{self.base_url}{TOKEN_PATH}"

    def application(self) -> web.Application:
        """The routes without the listener, for a caller that brings its own."""
        app = web.Application(client_max_size=_BODY_BYTES_MAX)
        app.add_routes(
            [
                web.post(TOKEN_PATH, self._token),
                web.post("/v1/visibility", self._set),
                web.get("/v1/visibility", self._list),
                web.get("/v1/visibility/{mentor_id}", self._read),
                web.get("/v1/health", self._health),
            ]
        )
        return app

    # What goes wrong.

    def script(  # noqa: PLR0913  # each names one property of the wrong answer
        self,
        *,
        status: int = 503,
        times: int | None = 1,
        mentor: UUID | None = None,
        routes: Iterable[Route] = (Route.SET,),
        retry_after: int | str | None = None,
        code: str = "scripted",
        html: bool = False,
        body: bytes | None = None,
        location: str | None = None,
        applied: bool = False,
        silence: Silence | None = None,
    ) -> None:
        """Answer the next `times` matching requests wrongly (None: until `heal`).

        `applied` stores the state first, as a receiver does whose answer is lost on the way.
        """
        text = body if body is not None else _HTML if html else error_body(code)
        fault = Fault(
            status=status,
            body=text,
            content_type="text/html" if html else "application/json",
            retry_after=None if retry_after is None else str(retry_after),
            location=location,
            applied=applied,
            silence=silence,
        )
        self._faults.add(fault, routes=frozenset(routes), mentor=mentor, times=times)

    def outage(self, *, status: int = 503, retry_after: int | str | None = None) -> None:
        """Fail every call of the contract until `heal`; the token endpoint stays up."""
        self.script(status=status, times=None, routes=_API_ROUTES, retry_after=retry_after)

    def reject_credentials(self, code: int = EXPIRED_SECRET) -> None:
        """Refuse the client at the token endpoint and every token it holds, until `heal`."""
        self.tokens.refuse(code)

    def misbehave_listing(self, fault: ListingFault) -> None:
        """Break one promise of every listing until `heal`."""
        self._listing_fault = fault

    def deny(self, mentor_id: UUID) -> None:
        """Answer `unknown_mentor` for this one, until `admit`."""
        self._denied.add(mentor_id)

    def admit(self, mentor_id: UUID) -> None:
        """Know this mentor again."""
        self._denied.discard(mentor_id)

    def heal(self) -> None:
        """End every fault: scripted answers, rejected credentials, broken listings, silence."""
        self._faults.clear()
        self._listing_fault = None
        self.tokens.accept()
        self._released.set()
        self._released = asyncio.Event()

    # What can be seen.

    def row(self, mentor_id: UUID) -> Row | None:
        """What is stored and published about one mentor now."""
        return self.store.row(mentor_id, self.clock.now())

    def requests(self, route: Route = Route.SET, mentor: UUID | None = None) -> list[LoggedRequest]:
        """The logged requests of one route, oldest first, of one mentor if given."""
        return [
            entry
            for entry in self.log
            if entry.route is route and mentor in (None, entry.mentor_id)
        ]

    # The routes.

    async def _token(self, request: web.Request) -> web.StreamResponse:
        async def issue() -> web.Response:
            reply = self.tokens.exchange(dict(await request.post()), self.clock.now())
            return web.json_response(reply.body, status=reply.status)

        return await self._answer(request, Route.TOKEN, issue)

    async def _set(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        wanted = _parsed(body)

        async def apply() -> web.Response:
            self._authenticate(request, body)
            return self._apply(request, wanted)

        return await self._answer(request, Route.SET, apply, wanted)

    def _apply(self, request: web.Request, wanted: VisibilitySet | None) -> web.Response:
        if request.content_type != "application/json":
            raise _Refusal(415, "json_expected")
        if wanted is None:
            raise _Refusal(400, "body_invalid")
        data = wanted.data
        if request.headers.get("webhook-id") != visibility_webhook_id(data.mentor_id, data.version):
            raise _Refusal(422, "webhook_id_mismatch")
        if data.mentor_id in self._denied:
            raise _Refusal(404, "unknown_mentor")
        verdict, row = self.store.compare_and_set(
            data.mentor_id, version=data.version, visible=data.visible, now=self.clock.now()
        )
        if verdict is Verdict.CONFLICT:
            raise _Refusal(
                409, "version_conflict", version=row.stored.version, visible=row.stored.visible
            )
        return web.json_response({**row_body(row), "outcome": verdict.value})

    async def _read(self, request: web.Request) -> web.StreamResponse:
        try:
            mentor_id = UUID(request.match_info["mentor_id"])
        except ValueError:
            mentor_id = UUID(int=0)

        async def read() -> web.Response:
            self._authenticate(request, b"")
            row = self.row(mentor_id)
            if row is None or mentor_id in self._denied:
                raise _Refusal(404, "unknown_mentor")
            published = row.published.version if row.published else "none"
            etag = f'"{row.mentor_id.hex}-{row.stored.version}-{published}"'
            if request.headers.get("If-None-Match") == etag:
                return web.Response(status=304, headers={"ETag": etag})
            return web.json_response(row_body(row), headers={"ETag": etag})

        return await self._answer(request, Route.READ, read, mentor_id=mentor_id)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        async def listing() -> web.Response:
            self._authenticate(request, b"")
            limit = request.query.get("limit", "200")
            if not limit.isdigit() or not 1 <= int(limit) <= LISTING_LIMIT_MAX:
                raise _Refusal(400, "limit_invalid")
            return self._page(int(limit), request.query.get("cursor"))

        return await self._answer(request, Route.LIST, listing)

    def _page(self, limit: int, cursor: str | None) -> web.Response:
        now = self.clock.now()
        try:
            page = self.store.page(cursor, limit, now)
        except UnknownCursor:
            raise _Refusal(400, "cursor_invalid") from None
        items = [row_body(row) for row in page.rows]
        snapshot_at, next_cursor = page.snapshot_at, page.cursor
        match self._listing_fault:
            case ListingFault.REPEATED_CURSOR:
                next_cursor = cursor or next_cursor
            case ListingFault.REPEATED_MENTOR:
                items += items[:1]
            case ListingFault.MOVED_SNAPSHOT if cursor is not None:
                snapshot_at += timedelta(seconds=1)
            case _:
                pass
        return web.json_response(
            {"snapshot_at": utc(snapshot_at), "items": items, "next_cursor": next_cursor}
        )

    async def _health(self, request: web.Request) -> web.StreamResponse:
        async def health() -> web.Response:
            self._authenticate(request, b"")
            time = utc(self.clock.now() + self.skew)
            return web.json_response(
                {"status": "ok", "caller": self.tokens.client_id, "time": time}
            )

        return await self._answer(request, Route.HEALTH, health)

    # How an answer comes about.

    def _authenticate(self, request: web.Request, body: bytes) -> None:
        if self.auth.has_token:
            authorization = request.headers.get("Authorization", "")
            if not self.tokens.is_good(authorization, self.clock.now()):
                raise _Refusal(401, "token_invalid")
        if self.auth.has_signature:
            try:
                Signer(self.secrets, self.clock).verify(request.headers, body)
            except SignatureRefused as refused:
                raise _Refusal(401, refused.reason) from None

    async def _answer(
        self,
        request: web.Request,
        route: Route,
        carry_out: Callable[[], Awaitable[web.Response]],
        wanted: VisibilitySet | None = None,
        mentor_id: UUID | None = None,
    ) -> web.StreamResponse:
        """Log one request and answer it: by its fault if it meets one, else truthfully."""
        if wanted is not None:
            mentor_id = wanted.data.mentor_id
        fault = self._faults.take(route, mentor_id)
        self._in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self._in_flight)
        response: web.Response | None = None
        try:
            if fault is None or fault.applied:
                response = await _truth(carry_out)
            if fault is not None:
                response = _wrong(fault) if fault.silence is None else None
            self._write_log(request, route, mentor_id, wanted, response)
            if response is None and fault is not None:
                return await self._keep_silent(request, fault)
            return response or web.Response(status=500)
        finally:
            self._in_flight -= 1

    async def _keep_silent(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.silence is Silence.HANG:
            await self._released.wait()
        if request.transport is not None:
            request.transport.close()
        return web.Response(status=500)  # goes nowhere: the connection is closed

    def _write_log(
        self,
        request: web.Request,
        route: Route,
        mentor_id: UUID | None,
        wanted: VisibilitySet | None,
        response: web.Response | None,
    ) -> None:
        self.log.append(
            LoggedRequest(
                at=self.clock.now(),
                route=route,
                mentor_id=mentor_id,
                version=wanted.data.version if wanted else None,
                visible=wanted.data.visible if wanted else None,
                webhook_id=request.headers.get("webhook-id"),
                status=response.status if response is not None else None,
                outcome=outcome_in(response.body) if response is not None else None,
            )
        )


async def _truth(carry_out: Callable[[], Awaitable[web.Response]]) -> web.Response:
    try:
        return await carry_out()
    except _Refusal as refusal:
        body = error_body(refusal.code, refusal.current)
        return web.Response(status=refusal.status, body=body, content_type="application/json")


def _wrong(fault: Fault) -> web.Response:
    headers = {}
    if fault.retry_after is not None:
        headers["Retry-After"] = fault.retry_after
    if fault.location is not None:
        headers["Location"] = fault.location
    return web.Response(
        status=fault.status, body=fault.body, content_type=fault.content_type, headers=headers
    )


def _parsed(body: bytes) -> VisibilitySet | None:
    try:
        return VisibilitySet.model_validate_json(body)
    except ValidationError:
        return None
