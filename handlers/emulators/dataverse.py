"""Dataverse on loopback: the Web API of the one table behind the portal, misbehaving on demand.

Real HTTP and what the platform documents: conditional writes by ETag, upsert by alternate key,
pages by a link, typed columns. It compares no versions: that is the adapter's work. ETags are
opaque, and a newer one is not greater. It is stricter than the platform in one thing: the key's
column in a body is refused, since Dataverse silently takes it when the row is created.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from aiohttp import web

from handlers.emulators.dataverse_table import COLUMNS, BadColumn, Line, Table
from handlers.emulators.portal_bodies import utc
from handlers.emulators.portal_faults import ListingFault, Route
from handlers.emulators.receiver import CLIENT_ID, CLIENT_SECRET, About, Receiver, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from handlers.emulators.portal_store import Row
    from outbox.clock import Clock

ROOT: Final = "/api/data/v9.2"
SET: Final = "hlf_peermentorvisibilities"
KEY: Final = "hlf_mentorref"

NO_SEGMENT: Final = "0x8006088a"
NO_ROW: Final = "0x80060891"
ROW_CHANGED: Final = "0x80060882"
NO_PROPERTY: Final = "0x80048d19"
NO_USER: Final = "0x80072560"

_BY_KEY: Final = re.compile(rf"{SET}\({KEY}='([^']*)'\)")
_PAGE_MAX: Final = 5_000
_PAGE_SIZE: Final = re.compile(r"odata\.maxpagesize=(\d+)")


class DataverseEmulator(Receiver):
    """The Web API at `base_url`; listens while its context is entered."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        client_id: str = CLIENT_ID,
        client_secret: str = CLIENT_SECRET,
        port: int = 0,
    ) -> None:
        super().__init__(clock=clock, client_id=client_id, client_secret=client_secret, port=port)
        self.store = Table()
        self.page_sizes: list[int] = []

    @property
    def base_url(self) -> str:
        """What `HLF_DATAVERSE_BASE_URL` is set to."""
        return f"{self.origin}{ROOT}"

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """Everything below the root; OData addresses are not paths a router could tell apart."""
        return (web.route("*", ROOT + "/{resource:.+}", self._serve),)

    def row(self, mentor_id: UUID) -> Row | None:
        """What is stored about one mentor; what is stored is published."""
        return self.store.row(mentor_id, self.clock.now())

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        resource = request.match_info["resource"]
        by_key = _BY_KEY.fullmatch(resource)
        match request.method:
            case "PATCH" if by_key:
                return await self._patch(request, by_key[1])
            case "GET" if by_key:
                return await self._get(request, by_key[1])
            case "GET" if resource == SET:
                return await self._list(request)
            case "GET" if resource in {"WhoAmI", "WhoAmI()"}:
                return await self._who_am_i(request)
            case _:
                return await self._answer(request, Route.READ, self._no_segment)

    async def _no_segment(self) -> web.Response:
        raise Refusal(404, NO_SEGMENT)

    async def _patch(self, request: web.Request, key: str) -> web.StreamResponse:
        body = await request.read()
        values = _json_object(body)

        async def upsert() -> web.Response:
            self._authenticate(request)
            line = self._upsert(request, key, values)
            return web.Response(
                status=204,
                headers={
                    "OData-EntityId": f"{self.base_url}/{SET}({line.id})",
                    "ETag": line.etag,
                    "x-ms-service-request-id": str(uuid4()),
                },
            )

        return await self._answer(request, Route.SET, upsert, _about(key, values or {}, body))

    def _upsert(self, request: web.Request, key: str, values: dict[str, Any] | None) -> Line:
        if request.content_type != "application/json":
            raise Refusal(415, "")
        if values is None:
            raise Refusal(400, "0x80048d19")
        line = self.store.line(key)
        if self._is_denied(key):
            raise Refusal(404, NO_ROW)
        match, none_match = request.headers.get("If-Match"), request.headers.get("If-None-Match")
        if match is not None and line is None:
            raise Refusal(404, NO_ROW)
        if match not in (None, "*") and line is not None and match != line.etag:
            raise Refusal(412, ROW_CHANGED)
        if none_match == "*" and line is not None:
            raise Refusal(412, "")  # "A record with matching key values already exists."
        try:
            return self.store.write(key, values, now=self.clock.now())
        except BadColumn:
            raise Refusal(400, NO_PROPERTY) from None

    async def _get(self, request: web.Request, key: str) -> web.StreamResponse:
        async def read() -> web.Response:
            self._authenticate(request)
            line = self.store.line(key)
            if line is None or self._is_denied(key):
                raise Refusal(404, NO_ROW)
            if request.headers.get("If-None-Match") == line.etag:
                return web.Response(status=304)
            context = f"{self.base_url}/$metadata#{SET}/$entity"
            body = {"@odata.context": context, **_selected(line, request)}
            return web.json_response(body, headers={"ETag": line.etag})

        return await self._answer(request, Route.READ, read, _about(key, {}, b""))

    async def _list(self, request: web.Request) -> web.StreamResponse:
        async def listing() -> web.Response:
            self._authenticate(request)
            asked = _PAGE_SIZE.search(request.headers.get("Prefer", ""))
            size = min(int(asked[1]), _PAGE_MAX) if asked else _PAGE_MAX
            self.page_sizes.append(size)
            return self._page(request, size)

        return await self._answer(request, Route.LIST, listing)

    def _page(self, request: web.Request, size: int) -> web.Response:
        after = _skipped_to(request.query.get("$skiptoken"))
        ordered = request.query.get("$orderby") == KEY
        lines = [line for line in self.store.lines(ordered=ordered) if line.key > after]
        value = [_selected(line, request) for line in lines[:size]]
        body: dict[str, Any] = {"@odata.context": f"{self.base_url}/$metadata#{SET}"}
        if len(lines) > size:
            token = base64.urlsafe_b64encode(lines[size - 1].key.encode()).decode()
            kept = [(name, text) for name, text in request.query.items() if name != "$skiptoken"]
            link = str(request.url.with_query([*kept, ("$skiptoken", token)]))
            repeated = self._listing_fault is ListingFault.REPEATED_CURSOR
            body["@odata.nextLink"] = str(request.url) if repeated and after else link
        if self._listing_fault is ListingFault.REPEATED_MENTOR:
            value += value[:1]
        return web.json_response({**body, "value": value})

    async def _who_am_i(self, request: web.Request) -> web.StreamResponse:
        async def tell() -> web.Response:
            self._authenticate(request)
            names = ("BusinessUnitId", "UserId", "OrganizationId")
            return web.json_response({name: str(uuid4()) for name in names})

        return await self._answer(request, Route.HEALTH, tell)

    def _is_denied(self, key: str) -> bool:
        return key in {str(mentor_id) for mentor_id in self._denied}

    def _authenticate(self, request: web.Request) -> None:
        for name in ("OData-Version", "OData-MaxVersion"):
            if request.headers.get(name) != "4.0":
                raise Refusal(400, "0x80060888")
        if not self.tokens.is_good(request.headers.get("Authorization", ""), self.clock.now()):
            raise Refusal(401, NO_USER)


def _selected(line: Line, request: web.Request) -> dict[str, Any]:
    """The columns asked for; the primary key and the ETag come unasked."""
    every: Mapping[str, Any] = {
        KEY: line.key,
        "modifiedon": utc(line.modified_at.replace(microsecond=0)),
        **{name: line.values.get(name) for name in COLUMNS},
    }
    asked = request.query.get("$select", "").split(",")
    return {
        "@odata.etag": line.etag,
        "hlf_peermentorvisibilityid": str(line.id),
        **{name: every[name] for name in asked if name in every},
    }


def _about(key: str, values: Mapping[str, Any], body: bytes) -> About:
    try:
        mentor_id = UUID(key)
    except ValueError:
        mentor_id = None
    return About(mentor_id, values.get("hlf_visibilityversion"), values.get("hlf_visible"), body)


def _skipped_to(token: str | None) -> str:
    return base64.urlsafe_b64decode(token).decode() if token else ""


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
