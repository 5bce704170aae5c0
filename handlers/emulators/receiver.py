"""What every emulated portal is: HTTP on loopback with a token endpoint, faults on demand, a log.

Time comes from the injected clock, the `Date` of each answer too.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final, Self

from aiohttp import web

from handlers.emulators.portal_bodies import LoggedRequest, error_body, outcome_in
from handlers.emulators.portal_faults import Fault, FaultScript, ListingFault, Route, Silence
from handlers.emulators.portal_tokens import EXPIRED_SECRET, TokenDesk
from handlers.emulators.server import LoopbackServer
from outbox.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime
    from types import TracebackType
    from uuid import UUID

    from outbox.clock import Clock

CLIENT_ID: Final = "peer-mentor-backend"
CLIENT_SECRET: Final = "emulated-client-secret"  # noqa: S105  # guards nothing but the emulator
TOKEN_PATH: Final = "/oauth2/v2.0/token"  # noqa: S105  # a path

_BODY_BYTES_MAX: Final = 20_000
_HTML: Final = b"<!doctype html><title>Bad gateway</title>"
_API_ROUTES: Final = frozenset({Route.SET, Route.READ, Route.LIST, Route.HEALTH})


class Refusal(Exception):
    """An answer other than success; `code` as the receiver words it."""

    def __init__(self, status: int, code: str, **current: object) -> None:
        super().__init__(code)
        self.status, self.code, self.current = status, code, current


@dataclass(frozen=True, slots=True)
class About:
    """Whom a request is about and what it asks to store, as far as it could be read."""

    mentor_id: UUID | None = None
    version: int | None = None
    visible: bool | None = None
    body: bytes = b""


NOBODY: Final = About()


class Receiver:
    """Listens while its context is entered; a subclass brings the routes.

    Faults outlive nothing: `heal` removes them all and lets hanging requests go.
    """

    def __init__(
        self, *, clock: Clock | None, client_id: str, client_secret: str, port: int
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.tokens = TokenDesk(client_id, client_secret)
        self.log: list[LoggedRequest] = []
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
    def origin(self) -> str:
        """Scheme, host and port."""
        return self._server.base_url

    @property
    def token_url(self) -> str:
        """Where tokens are had."""
        return f"{self.origin}{TOKEN_PATH}"

    def application(self) -> web.Application:
        """The routes without the listener, for a caller that brings its own."""
        app = web.Application(client_max_size=_BODY_BYTES_MAX)
        app.add_routes([web.post(TOKEN_PATH, self._token), *self.routes()])
        return app

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """The subclass's own."""
        raise NotImplementedError("a receiver says which routes it answers")

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
        """Know nobody of this id and take nothing about him, until `admit`."""
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

    def requests(self, route: Route = Route.SET, mentor: UUID | None = None) -> list[LoggedRequest]:
        """The logged requests of one route, oldest first, of one mentor if given."""
        return [
            entry
            for entry in self.log
            if entry.route is route and mentor in (None, entry.mentor_id)
        ]

    # How an answer comes about.

    async def _token(self, request: web.Request) -> web.StreamResponse:
        async def issue() -> web.Response:
            reply = self.tokens.exchange(dict(await request.post()), self.clock.now())
            return web.json_response(reply.body, status=reply.status)

        return await self._answer(request, Route.TOKEN, issue)

    async def _answer(
        self,
        request: web.Request,
        route: Route,
        carry_out: Callable[[], Awaitable[web.Response]],
        about: About = NOBODY,
    ) -> web.StreamResponse:
        """Log one request and answer it: by its fault if it meets one, else truthfully."""
        fault = self._faults.take(route, about.mentor_id)
        self._in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self._in_flight)
        response: web.Response | None = None
        try:
            if fault is None or fault.applied:
                response = await self._truth(carry_out)
            if fault is not None:
                response = _wrong(fault) if fault.silence is None else None
            self._write_log(request, route, about, response)
            if response is None and fault is not None:
                return await self._keep_silent(request, fault)
            answer = response or web.Response(status=500)
            answer.headers["Date"] = format_datetime(self._now(), usegmt=True)
            return answer
        finally:
            self._in_flight -= 1

    def _now(self) -> datetime:
        """The receiver's clock, which may be off."""
        return (self.clock.now() + self.skew).astimezone(UTC)

    async def _truth(self, carry_out: Callable[[], Awaitable[web.Response]]) -> web.Response:
        try:
            return await carry_out()
        except Refusal as refusal:
            return self.refusal(refusal)

    def refusal(self, refusal: Refusal) -> web.Response:
        """The answer that says why not."""
        body = error_body(refusal.code, refusal.current)
        return web.Response(status=refusal.status, body=body, content_type="application/json")

    async def _keep_silent(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.silence is Silence.HANG:
            await self._released.wait()
        if request.transport is not None:
            request.transport.close()
        return web.Response(status=500)  # goes nowhere: the connection is closed

    def _write_log(
        self, request: web.Request, route: Route, about: About, response: web.Response | None
    ) -> None:
        self.log.append(
            LoggedRequest(
                at=self.clock.now(),
                route=route,
                mentor_id=about.mentor_id,
                version=about.version,
                visible=about.visible,
                webhook_id=request.headers.get("webhook-id"),
                status=response.status if response is not None else None,
                outcome=outcome_in(response.body) if response is not None else None,
                body=about.body,
            )
        )


def _wrong(fault: Fault) -> web.Response:
    headers = {}
    if fault.retry_after is not None:
        headers["Retry-After"] = fault.retry_after
    if fault.location is not None:
        headers["Location"] = fault.location
    return web.Response(
        status=fault.status, body=fault.body, content_type=fault.content_type, headers=headers
    )
