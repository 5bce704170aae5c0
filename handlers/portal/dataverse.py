"""The Dataverse adapter: the portal contract over the raw Web API of its table.

Dataverse has no "update where the version is lower", so compare-and-set is done from here: read the
row with its ETag, decide, write under `If-Match`; whoever wrote in between makes the write fail and
we look again. An ETag tells that a row changed and nothing about order; the version does that.

One call is a few requests, all within one timeout, and no retry: a round that lost is not a failure
but part of the comparison, and five rounds lost are.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import structlog

from handlers.portal.answers import (
    BODY_BYTES_MAX,
    Absent,
    Ahead,
    Answer,
    Applied,
    Conflict,
    Duplicate,
    Found,
    OurFault,
    ReadAnswer,
    Refused,
    Stale,
    Unchanged,
    Unclear,
)
from handlers.portal.odata import (
    KEY,
    LISTED,
    SELECTED,
    TABLE,
    VERSION_MAX,
    Held,
    ListedRow,
    Moved,
    ReadRow,
    RowsPage,
    WhoAmI,
    Written,
    columns,
    parsed,
    read_row,
    refused,
    row_path,
    wrote_row,
)
from handlers.portal.port import Health, Listing, ListingBroken, healthy, problem_of
from handlers.portal.sending import TIMEOUT, Sender
from handlers.portal.wire import SetAnswer, SetOutcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import timedelta

    import httpx

    from handlers.portal.answers import HttpReply
    from handlers.portal.port import WantedVisibility
    from handlers.portal.wire import StoredVisibility
    from handlers.token_provider import TokenProvider
    from outbox.clock import Clock

ROUNDS_MAX: Final = 5
"""How often a write may find the row changed before the call is a failure for now."""

PAGE_SIZE: Final = 500
PAGE_BYTES_MAX: Final = 512 * 1024
"""Twice what 500 rows take with their links and annotations."""

PAGES_MAX: Final = 10_000
_OK: Final = 200

_Answer = TypeVar("_Answer")

log = structlog.get_logger(__name__)


class DataverseClient:
    """`VisibilityPort` over the Web API; `base_url` is its root, `https://.../api/data/v9.2`.

    Each call ends within `timeout`, follows no redirect and reads at most 64 kB per answer, 512 kB
    of a page. After a 401 or 403 the token is refreshed and the request sent once more.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        base_url: str,
        tokens: TokenProvider,
        *,
        clock: Clock,
        timeout: timedelta = TIMEOUT,
    ) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._clock = clock
        self._timeout = timeout
        self._sender = Sender(http, tokens, timeout=timeout)

    async def set(self, wanted: WantedVisibility, *, newest: int | None = None) -> Answer:
        """Write one state if nothing newer is there.

        Raises what the token endpoint raises, and nothing else.
        """
        if wanted.version > VERSION_MAX:
            return OurFault("version_too_large")
        known = wanted.version if newest is None else max(newest, wanted.version)
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                for _ in range(ROUNDS_MAX):
                    answer = await self._round(wanted, known)
                    if not isinstance(answer, Moved):
                        return answer
        except TimeoutError:
            return Unclear("timeout")
        return Unclear("row_contended")

    async def read(self, mentor_id: UUID, *, etag: str | None = None) -> ReadAnswer:
        """Read one mentor's row, conditionally if an `etag` is given."""
        match await self._held(mentor_id, etag=etag):
            case Held(stored, found):
                return Found(stored, found)
            case answer:
                return answer

    async def listing(self, *, limit: int = PAGE_SIZE) -> Listing:
        """Read all rows, in the order of the key, so that none slips between two pages.

        There is no snapshot: `snapshot_at` is when the reading began, and what changed since may or
        may not be in it. A page, a row or a link that makes no sense makes the listing incomplete.
        """
        began = self._clock.now()
        items: dict[UUID, StoredVisibility] = {}
        problem: str | None = None
        try:
            async for page in self._pages(limit):
                for row in page.value:
                    mentor_id = _mentor_of(row)
                    if mentor_id is None:
                        problem = problem or "row_unreadable"
                        continue
                    if mentor_id in items:
                        problem = problem or "mentor_repeated"
                    items[mentor_id] = row.stored(mentor_id)
        except ListingBroken as broken:
            problem = problem or broken.reason
        return Listing(problem is None, tuple(items.values()), began, problem)

    async def health(self) -> Health:
        """Ask who we are (`WhoAmI`), always with a fresh token; the answer's date tells skew."""
        await self._sender.check_token()
        asked_at = self._clock.now()
        reply = await self._send("GET", f"{self._base_url}/WhoAmI")
        if isinstance(reply, Unclear):
            return reply
        if reply.status != _OK:
            return self._told(reply, refused(reply, now=self._clock.now()))
        who = parsed(WhoAmI, reply)
        if isinstance(who, Unclear):
            return who
        return healthy((reply.date or asked_at) - asked_at)

    async def _round(self, wanted: WantedVisibility, newest: int) -> Answer | Moved:
        """Read, decide, write: one round of the comparison."""
        held = await self._held(wanted.mentor_id)
        match held:
            case Held(stored, etag):
                settled = _compared(stored, wanted, newest)
                if settled is not None:
                    return settled
                condition = ("If-Match", etag)
            case Absent():
                condition = ("If-None-Match", "*")
            case Unchanged():  # only a conditional read may be answered so, and this one is not
                return Unclear("unasked_304")
            case _:
                return held
        return await self._write(wanted, condition)

    async def _held(self, mentor_id: UUID, *, etag: str | None = None) -> ReadRow:
        url = f"{self._base_url}/{row_path(mentor_id)}?$select={SELECTED}"
        condition = ("If-None-Match", etag or "null")  # null: documented to defeat caches
        reply = await self._send("GET", url, condition)
        if isinstance(reply, Unclear):
            return reply
        return self._told(reply, read_row(reply, mentor_id, now=self._clock.now()))

    async def _write(self, wanted: WantedVisibility, condition: tuple[str, str]) -> Answer | Moved:
        url = f"{self._base_url}/{row_path(wanted.mentor_id)}"
        reply = await self._send("PATCH", url, condition, body=columns(wanted))
        if isinstance(reply, Unclear):
            return reply
        now = self._clock.now()
        match self._told(reply, wrote_row(reply, now=now)):
            case Written():
                return Applied(
                    SetAnswer(
                        mentor_id=wanted.mentor_id,
                        outcome=SetOutcome.APPLIED,
                        version=wanted.version,
                        visible=wanted.visible,
                        published_version=wanted.version,
                        published_visible=wanted.visible,
                        stored_at=now,
                    ),
                    reply.request_id,
                )
            case answer:
                return answer

    async def _pages(self, limit: int) -> AsyncIterator[RowsPage]:
        link = f"{self._base_url}/{TABLE}?$select={LISTED}&$orderby={KEY}"
        seen = {link}
        for _ in range(PAGES_MAX):
            page = await self._page(link, limit)
            yield page
            if page.next_link is None:
                return
            if page.next_link in seen:
                raise ListingBroken("cursor_repeated")
            if _origin(page.next_link) != _origin(self._base_url):  # the token goes nowhere else
                raise ListingBroken("link_elsewhere")
            seen.add(page.next_link)
            link = page.next_link
        raise ListingBroken("too_many_pages")

    async def _page(self, link: str, limit: int) -> RowsPage:
        # asked for on each page, or the next one is as long as Dataverse likes
        wanted = (("Prefer", f"odata.maxpagesize={limit}"), ("If-None-Match", "null"))
        reply = await self._send("GET", link, *wanted, bytes_max=PAGE_BYTES_MAX)
        if isinstance(reply, Unclear):
            raise ListingBroken(reply.reason)
        if reply.status != _OK:
            raise ListingBroken(problem_of(refused(reply, now=self._clock.now())))
        page = parsed(RowsPage, reply)
        if isinstance(page, Unclear):
            raise ListingBroken(page.reason)
        return page

    async def _send(
        self,
        method: str,
        url: str,
        *headers: tuple[str, str],
        body: dict[str, Any] | None = None,
        bytes_max: int = BODY_BYTES_MAX,
    ) -> HttpReply | Unclear:
        def make() -> httpx.Request:
            return self._http.build_request(
                method,
                url,
                json=body,
                headers={
                    "Accept": "application/json",
                    "OData-MaxVersion": "4.0",
                    "OData-Version": "4.0",
                    "x-ms-client-request-id": str(uuid4()),
                    **dict(headers),
                },
                timeout=self._timeout.total_seconds(),
            )

        return await self._sender.send(make, bytes_max=bytes_max)

    def _told(self, reply: HttpReply, answer: _Answer) -> _Answer:
        """Log a refusal with the receiver's name for it: their support asks for that."""
        if isinstance(answer, Refused):
            log.info(
                "portal.refused",
                answer=type(answer).__name__.lower(),
                status=reply.status,
                request_id=reply.request_id,
            )
        return answer


def _compared(held: StoredVisibility, wanted: WantedVisibility, newest: int) -> Answer | None:
    """What the stored version means for the wanted one; None: it is older, write over it."""
    if held.version < wanted.version:
        return None
    if held.version == wanted.version and held.visible != wanted.visible:
        return Conflict(held.version, held.visible)
    body = SetAnswer(
        mentor_id=held.mentor_id,
        outcome=SetOutcome.DUPLICATE if held.version == wanted.version else SetOutcome.STALE,
        version=held.version,
        visible=held.visible,
        published_version=held.version,
        published_visible=held.visible,
        stored_at=held.stored_at,
    )
    if held.version == wanted.version:
        return Duplicate(body)
    return Ahead(held.version, body) if held.version > newest else Stale(held.version, body)


def _mentor_of(row: ListedRow) -> UUID | None:
    try:
        return UUID(row.hlf_mentorref)
    except ValueError:
        return None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
