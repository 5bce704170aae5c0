"""The portal on loopback: the contract's receiver with its token endpoint, misbehaving on demand.

Real HTTP, real compare-and-set, real signature and token checks. `script`, `outage`, `heal` and the
other verbs decide what goes wrong; `log` tells what arrived. Time comes from the injected clock.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from aiohttp import web
from pydantic import ValidationError

from handlers.emulators.portal_bodies import row_body, utc
from handlers.emulators.portal_faults import ListingFault, Route
from handlers.emulators.portal_store import PortalStore, Row, UnknownCursor, Verdict
from handlers.emulators.receiver import CLIENT_ID, CLIENT_SECRET, About, Receiver, Refusal
from handlers.portal.signature import (
    SignatureRefused,
    Signer,
    SigningSecret,
    visibility_webhook_id,
)
from handlers.portal.wire import LISTING_LIMIT_MAX, AuthMode, VisibilitySet
from outbox.clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from outbox.clock import Clock

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "PortalEmulator"]


class PortalEmulator(Receiver):
    """The receiver of the portal contract; listens while its context is entered.

    `secrets` are the signing secrets it accepts, all of them; `publish_delay` is how far the public
    page runs behind.
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
        super().__init__(clock=clock, client_id=client_id, client_secret=client_secret, port=port)
        self.store = PortalStore(publish_delay)
        self.secrets: tuple[SigningSecret, ...] = tuple(secrets)
        self.auth = auth

    @property
    def base_url(self) -> str:
        """What `HLF_PORTAL_BASE_URL` is set to."""
        return self.origin

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """The contract's four."""
        return (
            web.post("/v1/visibility", self._set),
            web.get("/v1/visibility", self._list),
            web.get("/v1/visibility/{mentor_id}", self._read),
            web.get("/v1/health", self._health),
        )

    # What can be seen.

    def row(self, mentor_id: UUID) -> Row | None:
        """What is stored and published about one mentor now."""
        return self.store.row(mentor_id, self.clock.now())

    # The routes.

    async def _set(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        wanted = _parsed(body)

        async def apply() -> web.Response:
            self._authenticate(request, body)
            return self._apply(request, wanted)

        return await self._answer(request, Route.SET, apply, _about(wanted, body))

    def _apply(self, request: web.Request, wanted: VisibilitySet | None) -> web.Response:
        if request.content_type != "application/json":
            raise Refusal(415, "json_expected")
        if wanted is None:
            raise Refusal(400, "body_invalid")
        data = wanted.data
        if request.headers.get("webhook-id") != visibility_webhook_id(data.mentor_id, data.version):
            raise Refusal(422, "webhook_id_mismatch")
        if data.mentor_id in self._denied:
            raise Refusal(404, "unknown_mentor")
        verdict, row = self.store.compare_and_set(
            data.mentor_id, version=data.version, visible=data.visible, now=self.clock.now()
        )
        if verdict is Verdict.CONFLICT:
            raise Refusal(
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
                raise Refusal(404, "unknown_mentor")
            published = row.published.version if row.published else "none"
            etag = f'"{row.mentor_id.hex}-{row.stored.version}-{published}"'
            if request.headers.get("If-None-Match") == etag:
                return web.Response(status=304, headers={"ETag": etag})
            return web.json_response(row_body(row), headers={"ETag": etag})

        return await self._answer(request, Route.READ, read, About(mentor_id))

    async def _list(self, request: web.Request) -> web.StreamResponse:
        async def listing() -> web.Response:
            self._authenticate(request, b"")
            limit = request.query.get("limit", "200")
            if not limit.isdigit() or not 1 <= int(limit) <= LISTING_LIMIT_MAX:
                raise Refusal(400, "limit_invalid")
            return self._page(int(limit), request.query.get("cursor"))

        return await self._answer(request, Route.LIST, listing)

    def _page(self, limit: int, cursor: str | None) -> web.Response:
        now = self.clock.now()
        try:
            page = self.store.page(cursor, limit, now)
        except UnknownCursor:
            raise Refusal(400, "cursor_invalid") from None
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
            time = utc(self._now())
            return web.json_response(
                {"status": "ok", "caller": self.tokens.client_id, "time": time}
            )

        return await self._answer(request, Route.HEALTH, health)

    # How an answer comes about.

    def _authenticate(self, request: web.Request, body: bytes) -> None:
        if self.auth.has_token:
            authorization = request.headers.get("Authorization", "")
            if not self.tokens.is_good(authorization, self.clock.now()):
                raise Refusal(401, "token_invalid")
        if self.auth.has_signature:
            try:
                Signer(self.secrets, VirtualClock(self._now())).verify(request.headers, body)
            except SignatureRefused as refused:
                raise Refusal(401, refused.reason) from None


def _about(wanted: VisibilitySet | None, body: bytes) -> About:
    if wanted is None:
        return About(body=body)
    return About(wanted.data.mentor_id, wanted.data.version, wanted.data.visible, body)


def _parsed(body: bytes) -> VisibilitySet | None:
    try:
        return VisibilitySet.model_validate_json(body)
    except ValidationError:
        return None
