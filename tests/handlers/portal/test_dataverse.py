"""What only Dataverse does to us: rows that change under our hands, pages, codes of its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from handlers.emulators.dataverse import NO_SEGMENT, DataverseEmulator
from handlers.emulators.portal_faults import Route
from handlers.emulators.receiver import Refusal
from handlers.portal import DataverseClient, WantedVisibility
from handlers.portal.answers import (
    Ahead,
    Applied,
    Conflict,
    Credentials,
    Duplicate,
    Found,
    OurFault,
    Stale,
    Unclear,
)

if TYPE_CHECKING:
    from aiohttp import web

    from outbox.clock import VirtualClock

StateFactory = Callable[..., WantedVisibility]
MENTORS = [UUID(int=n) for n in range(1, 8)]


@dataclass
class Meddling:
    """What somebody else does to the table right after each of our reads."""

    acts: list[Callable[[], object]] = field(default_factory=list)


class Meddled(DataverseEmulator):
    """A table that others write to between our look and our write."""

    meddling: Meddling

    async def _get(self, request: web.Request, key: str) -> web.StreamResponse:
        answer = await super()._get(request, key)
        if self.meddling.acts:
            self.meddling.acts.pop(0)()
        return answer


@pytest.fixture
def channel() -> str:
    return "dataverse"


@pytest.fixture
async def portal(clock: VirtualClock) -> AsyncIterator[Meddled]:
    emulator = Meddled(clock=clock)
    emulator.meddling = Meddling()
    async with emulator:
        yield emulator


@pytest.fixture
def put(portal: Meddled, clock: VirtualClock, make_state: StateFactory) -> Callable[..., None]:
    def write(version: int, *, visible: bool) -> None:
        portal.store.put(make_state().mentor_id, version=version, visible=visible, now=clock.now())

    return write


def stored(portal: DataverseEmulator, state: WantedVisibility) -> tuple[int, bool]:
    row = portal.row(state.mentor_id)
    assert row is not None
    return row.stored.version, row.stored.visible


async def test_a_row_written_between_look_and_write_is_looked_at_again(
    portal: Meddled, client: DataverseClient, make_state: StateFactory, put: Callable[..., None]
) -> None:
    """SYN-2: a bare upsert would leave the older state; the ETag makes the write fail instead."""
    put(1, visible=True)
    portal.meddling.acts = [lambda: put(2, visible=True)]

    answer = await client.set(make_state(3, visible=False))

    assert isinstance(answer, Applied)
    assert [request.status for request in portal.requests()] == [412, 204]
    assert stored(portal, make_state()) == (3, False)


@pytest.mark.parametrize(
    ("version", "visible", "answer"),
    [(9, True, Ahead), (3, False, Duplicate), (3, True, Conflict)],
)
async def test_what_was_written_meanwhile_decides(
    portal: Meddled,
    client: DataverseClient,
    make_state: StateFactory,
    put: Callable[..., None],
    version: int,
    answer: type,
    *,
    visible: bool,
) -> None:
    """SYN-2: nothing newer is overwritten, whenever it came."""
    put(1, visible=True)
    portal.meddling.acts = [lambda: put(version, visible=visible)]

    assert isinstance(await client.set(make_state(3, visible=False)), answer)
    assert stored(portal, make_state()) == (version, visible)


async def test_a_row_created_or_deleted_meanwhile_is_looked_at_again(
    portal: Meddled, client: DataverseClient, make_state: StateFactory, put: Callable[..., None]
) -> None:
    mentor = make_state().mentor_id
    portal.meddling.acts = [
        lambda: put(1, visible=True),
        lambda: portal.store.remove(mentor),
    ]

    assert isinstance(await client.set(make_state(3)), Applied)
    assert [request.status for request in portal.requests()] == [412, 404, 204]


async def test_five_lost_rounds_are_a_failure_for_now(
    portal: Meddled, client: DataverseClient, make_state: StateFactory, put: Callable[..., None]
) -> None:
    portal.meddling.acts = [lambda n=n: put(n, visible=True) for n in range(1, 7)]  # type: ignore[misc]

    assert await client.set(make_state(9)) == Unclear("row_contended")
    assert [request.status for request in portal.requests()] == [412] * 5


async def test_what_is_sent_is_the_whole_state_and_the_key_stands_in_the_address(
    portal: Meddled, client: DataverseClient, make_state: StateFactory
) -> None:
    """SYN-12: nothing personal; the emulator refuses the key's column in a body."""
    await client.set(make_state(7, visible=False))

    (request,) = portal.requests()
    assert json.loads(request.body) == {
        "hlf_visible": False,
        "hlf_visibilityversion": 7,
        "hlf_reason": "certificate_lapsed",
        "hlf_effectiveat": "2026-03-01T23:05:04Z",
    }
    assert portal.store.line("9c4a3a51-4b7e-49be-8f24-5d6a77f3c0aa") is not None


async def test_an_overtaken_or_repeated_version_writes_nothing(
    portal: Meddled, client: DataverseClient, make_state: StateFactory
) -> None:
    await client.set(make_state(7, visible=False))

    assert isinstance(await client.set(make_state(7, visible=False)), Duplicate)
    assert isinstance(await client.set(make_state(5, visible=True), newest=7), Stale)
    assert len(portal.requests()) == 1


async def test_a_row_somebody_made_by_hand_counts_as_never_written(
    portal: Meddled, client: DataverseClient, clock: VirtualClock, make_state: StateFactory
) -> None:
    mentor = make_state().mentor_id
    portal.store.write(str(mentor), {}, now=clock.now())

    found = await client.read(mentor)
    assert isinstance(found, Found)
    assert (found.item.version, found.item.visible) == (0, False)
    assert isinstance(await client.set(make_state(1)), Applied)


async def test_a_version_beyond_the_column_is_refused_before_any_call(
    portal: Meddled, client: DataverseClient, make_state: StateFactory
) -> None:
    assert await client.set(make_state(2**31)) == OurFault("version_too_large")
    assert portal.log == []


@pytest.mark.parametrize(
    ("status", "code", "answer"),
    [
        (401, "0x80072560", Credentials("no_application_user:0x80072560")),
        (403, "0x80040220", Credentials("privilege_missing:0x80040220")),
        (400, "0x80048d19", OurFault("0x80048d19")),
        (405, "", OurFault("http_405")),
        (404, NO_SEGMENT, OurFault(f"table_missing_{NO_SEGMENT}")),
    ],
)
async def test_its_codes_tell_what_is_missing(
    portal: Meddled,
    client: DataverseClient,
    make_state: StateFactory,
    status: int,
    code: str,
    answer: object,
) -> None:
    """A token that is fine and a user without rights are two things to mend (CRD-2)."""
    portal.script(status=status, code=code, times=None, routes=(Route.SET, Route.READ))

    assert await client.set(make_state()) == answer


async def test_each_page_asks_for_its_size(
    portal: Meddled, client: DataverseClient, clock: VirtualClock
) -> None:
    """Left out on the second page, Dataverse answers with 5,000 rows."""
    for mentor in MENTORS:
        portal.store.put(mentor, version=3, visible=True, now=clock.now())

    listing = await client.listing(limit=3)

    assert listing.complete
    assert portal.page_sizes == [3, 3, 3]


async def test_a_page_of_its_default_size_fits(
    portal: Meddled, client: DataverseClient, clock: VirtualClock
) -> None:
    """RCN-1: 1,200 mentors are three pages of 500, each above what a single answer may be."""
    for n in range(1, 1_201):
        portal.store.put(UUID(int=n), version=3, visible=True, now=clock.now())

    listing = await client.listing()

    assert (listing.complete, len(listing.items), len(portal.page_sizes)) == (True, 1_200, 3)


async def test_a_key_that_is_no_mentor_makes_the_listing_incomplete(
    portal: Meddled, client: DataverseClient, clock: VirtualClock
) -> None:
    portal.store.write("somebody", {}, now=clock.now())
    portal.store.put(MENTORS[0], version=3, visible=True, now=clock.now())

    listing = await client.listing()

    assert (listing.complete, listing.problem) == (False, "row_unreadable")
    assert [item.mentor_id for item in listing.items] == MENTORS[:1]


async def test_a_link_that_leads_elsewhere_is_not_followed(
    portal: Meddled, client: DataverseClient
) -> None:
    """The token would go wherever the link points."""
    body = {"value": [], "@odata.nextLink": "https://elsewhere.invalid/api/data/v9.2/x"}
    portal.script(status=200, body=json.dumps(body).encode(), routes=(Route.LIST,))

    listing = await client.listing()

    assert (listing.complete, listing.problem) == (False, "link_elsewhere")


async def test_the_receivers_name_for_a_call_is_kept(
    client: DataverseClient, make_state: StateFactory
) -> None:
    """Their support asks for it."""
    answer = await client.set(make_state())

    assert isinstance(answer, Applied)
    assert answer.request_id is not None
    assert len(answer.request_id) == 36


async def test_a_skewed_clock_stands_in_the_hint_of_refused_credentials(
    portal: Meddled, client: DataverseClient, make_state: StateFactory
) -> None:
    """CRD-2: what to mend first."""
    portal.skew = timedelta(seconds=412)
    portal.script(status=401, code="", times=None, routes=(Route.READ,))

    answer = await client.set(make_state())

    assert answer == Credentials("no_application_user", 412)
    assert answer.hint == (
        "no_application_user; the receiver's clock is 412 s ahead of ours, set the clock first"
    )


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"hlf_mentorref": "x"}, 400),
        ({"hlf_visible": 1}, 400),
        ({"hlf_visibilityversion": 2**31}, 400),
        ({"hlf_effectiveat": "today"}, 400),
        ({"hlf_name": "x"}, 400),
    ],
)
def test_the_emulator_refuses_what_the_table_has_no_place_for(
    portal: Meddled, values: dict[str, Any], status: int
) -> None:
    class Request:
        content_type = "application/json"
        headers: dict[str, str] = {}  # noqa: RUF012 - never written to

    with pytest.raises(Refusal) as refused:
        portal._upsert(Request(), "x", values)  # type: ignore[arg-type]
    assert refused.value.status == status
    assert portal.store.line("x") is None
