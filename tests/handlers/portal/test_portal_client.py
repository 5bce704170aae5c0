"""Both adapters against their emulated receivers, over real HTTP: one suite for the port (SYN-1).

What only the webhook has, its signatures and its own answers, is marked `webhook`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

import httpx
import pytest
from structlog.testing import capture_logs

from handlers.emulators.dataverse import DataverseEmulator
from handlers.emulators.portal import PortalEmulator
from handlers.emulators.portal_faults import ListingFault, Route, Silence
from handlers.portal import (
    AuthMode,
    DataverseClient,
    Healthy,
    PortalAuth,
    PortalClient,
    SigningSecret,
    WantedVisibility,
)
from handlers.portal.answers import (
    Absent,
    Accepted,
    Ahead,
    Applied,
    Conflict,
    Credentials,
    Duplicate,
    Found,
    OurFault,
    Retired,
    Stale,
    Throttled,
    Unchanged,
    Unclear,
    UnknownMentor,
)
from outbox.errors import CredentialsRejected, TransientFailure

if TYPE_CHECKING:
    from outbox.clock import VirtualClock

StateFactory = Callable[..., WantedVisibility]
Emulator: TypeAlias = PortalEmulator | DataverseEmulator
ClientFactory = Callable[..., DataverseClient | PortalClient]
SHORT = timedelta(seconds=1)
MENTORS = [UUID(int=n) for n in range(1, 8)]
API = (Route.SET, Route.READ)

webhook = pytest.mark.parametrize("channel", ["webhook"])


@pytest.fixture
def state(make_state: StateFactory) -> StateFactory:
    return make_state


async def test_a_state_is_applied_once_and_then_a_duplicate(
    portal: Emulator, client: DataverseClient | PortalClient, state: StateFactory
) -> None:
    first = await client.set(state(1))
    second = await client.set(state(1))

    assert isinstance(first, Applied)
    assert isinstance(second, Duplicate)
    row = portal.row(state().mentor_id)
    assert row is not None
    assert (row.stored.version, row.stored.visible) == (1, False)


@webhook
async def test_each_try_of_a_version_has_the_same_id(
    portal: Emulator, client: DataverseClient | PortalClient, state: StateFactory
) -> None:
    await client.set(state(1))
    await client.set(state(1))

    ids = {request.webhook_id for request in portal.requests()}
    assert ids == {"vis_9c4a3a514b7e49be8f245d6a77f3c0aa_1"}
    assert [request.outcome for request in portal.requests()] == ["applied", "duplicate"]


async def test_a_late_old_version_is_stale_and_changes_nothing(
    portal: Emulator, client: DataverseClient | PortalClient, state: StateFactory
) -> None:
    await client.set(state(7, visible=False))

    late = await client.set(state(5, visible=True), newest=7)

    assert isinstance(late, Stale)
    row = portal.row(state().mentor_id)
    assert row is not None
    assert (row.stored.version, row.stored.visible) == (7, False)


async def test_a_version_we_never_made_is_ahead(
    portal: Emulator,
    client: DataverseClient | PortalClient,
    clock: VirtualClock,
    state: StateFactory,
) -> None:
    portal.store.put(state().mentor_id, version=40, visible=True, now=clock.now())

    ahead = await client.set(state(7))

    assert isinstance(ahead, Ahead)
    assert ahead.returned == 40


async def test_a_version_used_twice_is_a_conflict(
    client: DataverseClient | PortalClient, state: StateFactory
) -> None:
    await client.set(state(7, visible=True))

    assert await client.set(state(7, visible=False)) == Conflict(7, visible=True)


@webhook
async def test_a_mentor_the_portal_does_not_know(
    portal: Emulator, client: DataverseClient | PortalClient, state: StateFactory
) -> None:
    portal.deny(state().mentor_id)

    assert await client.set(state()) == UnknownMentor()


async def test_an_accepted_state_is_not_applied_yet(
    portal: Emulator, client: DataverseClient | PortalClient, state: StateFactory
) -> None:
    portal.script(status=202, body=b"")

    assert await client.set(state()) == Accepted()
    assert portal.row(state().mentor_id) is None


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        ({"status": 400, "code": "body_invalid"}, OurFault("body_invalid")),
        ({"status": 413}, OurFault("scripted")),
        ({"status": 410}, Retired()),
        ({"status": 429, "retry_after": 30}, Throttled(timedelta(seconds=30))),
        ({"status": 503, "retry_after": 9}, Throttled(timedelta(seconds=9))),
        ({"status": 503}, Unclear("http_503")),
        ({"status": 500}, Unclear("http_500")),
        ({"status": 502, "html": True}, Unclear("http_502")),
        ({"status": 200, "html": True}, Unclear("html")),
        ({"status": 200, "body": b"{}"}, Unclear("body_not_ours")),
        ({"status": 200, "body": b"[" * 70_000}, Unclear("body_too_large")),
        ({"status": 404, "html": True}, Unclear("http_404")),
    ],
)
async def test_a_wrong_answer_is_read_as_the_table_says(
    portal: Emulator,
    client: DataverseClient | PortalClient,
    state: StateFactory,
    fault: dict[str, object],
    answer: object,
) -> None:
    portal.script(**fault)  # type: ignore[arg-type]

    assert await client.set(state()) == answer
    assert len(portal.requests()) == 1  # the engine repeats, never the client


async def test_a_redirect_is_not_followed(
    portal: Emulator, client: DataverseClient | PortalClient, state: StateFactory
) -> None:
    """The token would go wherever the redirect points."""
    portal.script(status=307, location=f"{portal.origin}/elsewhere", routes=(Route.SET,))

    assert await client.set(state()) == Unclear("redirect")
    assert len(portal.requests()) == 1


async def test_an_answer_lost_after_applying_is_a_duplicate_the_next_time(
    portal: Emulator, make_client: ClientFactory, state: StateFactory
) -> None:
    portal.script(applied=True, silence=Silence.HANG)
    client = make_client(timeout=SHORT)
    await client.health()  # the token is there: the short timeout is the portal's alone

    assert await client.set(state()) == Unclear("timeout")
    assert isinstance(await client.set(state()), Duplicate)


async def test_a_connection_dropped_after_applying_is_a_duplicate_the_next_time(
    portal: Emulator, client: DataverseClient | PortalClient, state: StateFactory
) -> None:
    portal.script(applied=True, silence=Silence.DROP)

    assert await client.set(state()) == Unclear("connection")
    assert isinstance(await client.set(state()), Duplicate)


async def test_nobody_listening_is_unclear(make_client: ClientFactory, state: StateFactory) -> None:
    client = make_client(base_url="http://127.0.0.1:9")

    assert await client.set(state()) == Unclear("connection")


async def test_an_expired_token_is_renewed_and_the_call_sent_once_more(
    portal: Emulator, client: DataverseClient | PortalClient, state: StateFactory
) -> None:
    await client.set(state(1))
    portal.tokens.expire()

    assert isinstance(await client.set(state(2)), Applied)
    assert portal.tokens.issued == 2
    assert [request.status for request in portal.log].count(401) == 1


async def test_a_second_refusal_is_rejected_credentials(
    portal: Emulator, client: DataverseClient | PortalClient, state: StateFactory
) -> None:
    portal.script(status=403, times=None, code="not_allowed")

    assert await client.set(state()) == Credentials("not_allowed")
    assert len(portal.requests()) == 2


async def test_a_client_the_token_endpoint_refuses_never_reaches_the_portal(
    portal: Emulator, client: DataverseClient | PortalClient, state: StateFactory
) -> None:
    portal.reject_credentials()

    with pytest.raises(CredentialsRejected) as rejected:
        await client.set(state())

    assert "AADSTS7000222" in rejected.value.hint
    assert portal.requests() == []
    portal.heal()
    assert isinstance(await client.set(state()), Applied)


async def test_a_token_endpoint_that_fails_is_transient(
    portal: Emulator, client: DataverseClient | PortalClient, state: StateFactory
) -> None:
    portal.script(status=500, routes=(Route.TOKEN,))

    with pytest.raises(TransientFailure, match="token_endpoint_http_500"):
        await client.set(state())


@webhook
@pytest.mark.parametrize("mode", list(AuthMode))
async def test_every_auth_mode_is_accepted(
    portal: Emulator, make_client: ClientFactory, state: StateFactory, mode: AuthMode
) -> None:
    assert isinstance(portal, PortalEmulator)
    portal.auth = mode
    client = make_client(mode=mode)

    assert isinstance(await client.set(state()), Applied)
    assert isinstance(await client.health(), Healthy)
    assert portal.tokens.issued == (2 if mode.has_token else 0)


@webhook
@pytest.mark.parametrize("active", [0, 1])
async def test_either_of_two_secrets_is_accepted_and_a_third_is_not(
    portal: Emulator, make_client: ClientFactory, state: StateFactory, active: int
) -> None:
    assert isinstance(portal, PortalEmulator)
    portal.auth = AuthMode.HMAC
    known = make_client(mode=AuthMode.HMAC, secrets=(portal.secrets[active],))
    unknown = make_client(mode=AuthMode.HMAC, secrets=(SigningSecret(b"x" * 32),))

    assert isinstance(await known.set(state()), Applied)
    assert await unknown.set(state()) == Credentials("signature_mismatch")


def test_a_mode_with_a_token_needs_a_provider() -> None:
    with pytest.raises(ValueError, match="needs a token provider"):
        PortalAuth(AuthMode.OAUTH, None, tuple)


async def test_reading_one_mentor_conditionally(
    client: DataverseClient | PortalClient, state: StateFactory
) -> None:
    mentor = state().mentor_id
    assert await client.read(mentor) == Absent()
    await client.set(state(7, visible=False))

    found = await client.read(mentor)
    assert isinstance(found, Found)
    assert (found.item.version, found.item.visible) == (7, False)
    assert (found.item.published_version, found.item.published_visible) == (7, False)
    assert await client.read(mentor, etag=found.etag) == Unchanged()

    await client.set(state(8, visible=True))
    changed = await client.read(mentor, etag=found.etag)
    assert isinstance(changed, Found)
    assert (changed.item.version, changed.item.visible) == (8, True)


@webhook
async def test_what_is_published_follows_what_is_stored(
    portal: Emulator,
    client: DataverseClient | PortalClient,
    clock: VirtualClock,
    state: StateFactory,
) -> None:
    """Raw Dataverse has no published copy; the webhook's receiver tells of one."""
    assert isinstance(portal, PortalEmulator)
    portal.store.publish_delay = timedelta(minutes=5)
    await client.set(state(7, visible=False))
    found = await client.read(state().mentor_id)
    assert isinstance(found, Found)
    assert (found.item.version, found.item.published_version) == (7, None)

    clock.advance(timedelta(minutes=5))
    published = await client.read(state().mentor_id, etag=found.etag)
    assert isinstance(published, Found)
    assert (published.item.published_version, published.item.published_visible) == (7, False)


@pytest.mark.parametrize("limit", [1, 2, 7, 500])
async def test_a_listing_holds_everybody_whatever_the_page_size(
    portal: Emulator, client: DataverseClient | PortalClient, clock: VirtualClock, limit: int
) -> None:
    for mentor in MENTORS:
        portal.store.put(mentor, version=3, visible=True, now=clock.now())

    listing = await client.listing(limit=limit)

    assert listing.complete
    assert [item.mentor_id for item in listing.items] == MENTORS
    assert listing.snapshot_at == clock.now()
    assert len(portal.requests(Route.LIST)) == max(1, -(-len(MENTORS) // limit))


async def test_an_empty_listing_is_complete(client: DataverseClient | PortalClient) -> None:
    listing = await client.listing()

    assert listing.complete
    assert listing.items == ()


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (ListingFault.REPEATED_CURSOR, "cursor_repeated"),
        (ListingFault.REPEATED_MENTOR, "mentor_repeated"),
        pytest.param(ListingFault.MOVED_SNAPSHOT, "snapshot_moved", id="snapshot"),
    ],
)
async def test_a_listing_that_breaks_a_promise_is_incomplete(
    portal: Emulator,
    client: DataverseClient | PortalClient,
    clock: VirtualClock,
    fault: ListingFault,
    problem: str,
) -> None:
    if fault is ListingFault.MOVED_SNAPSHOT and isinstance(portal, DataverseEmulator):
        pytest.skip("Dataverse has no snapshots to move")
    for mentor in MENTORS:
        portal.store.put(mentor, version=3, visible=True, now=clock.now())
    portal.misbehave_listing(fault)

    listing = await client.listing(limit=2)

    assert not listing.complete
    assert listing.problem is not None
    assert problem == listing.problem
    assert listing.items


async def test_a_page_that_fails_makes_the_listing_incomplete(
    portal: Emulator, client: DataverseClient | PortalClient
) -> None:
    portal.script(status=502, html=True, routes=(Route.LIST,))

    listing = await client.listing(limit=5)

    assert (listing.complete, listing.problem) == (False, "http_502")


@pytest.mark.parametrize("status", [401, 429])
async def test_a_refused_page_names_its_refusal(
    portal: Emulator, client: DataverseClient | PortalClient, status: int
) -> None:
    portal.script(status=status, times=None, routes=(Route.LIST,))

    listing = await client.listing()

    assert listing.problem == {401: "credentials:scripted", 429: "throttled"}[status]


async def test_health_always_fetches_a_fresh_token(
    portal: Emulator, client: DataverseClient | PortalClient
) -> None:
    assert await client.health() == Healthy(timedelta(0), skewed=False)
    assert await client.health() == Healthy(timedelta(0), skewed=False)
    assert portal.tokens.issued == 2


@pytest.mark.parametrize(("seconds", "skewed"), [(120, False), (121, True), (-121, True)])
async def test_a_skewed_clock_is_warned_about(
    portal: Emulator, client: DataverseClient | PortalClient, seconds: int, *, skewed: bool
) -> None:
    portal.skew = timedelta(seconds=seconds)

    with capture_logs() as logs:
        health = await client.health()

    assert health == Healthy(timedelta(seconds=seconds), skewed=skewed)
    assert [entry["skew_s"] for entry in logs if entry["event"] == "portal.clock_skewed"] == (
        [seconds] if skewed else []
    )


async def test_a_sick_portal_is_not_a_credential_problem(
    portal: Emulator, client: DataverseClient | PortalClient
) -> None:
    portal.outage()
    assert await client.health() == Unclear("http_503")

    portal.heal()
    portal.script(status=401, times=None, routes=(Route.HEALTH,))
    assert await client.health() == Credentials("scripted")


async def test_an_outage_hits_every_route_until_it_is_healed(
    portal: Emulator, client: DataverseClient | PortalClient, state: StateFactory
) -> None:
    portal.outage(retry_after=60)

    assert await client.set(state()) == Throttled(timedelta(seconds=60))
    assert await client.read(state().mentor_id) == Throttled(timedelta(seconds=60))
    assert (await client.listing()).problem == "throttled"

    portal.heal()
    assert isinstance(await client.set(state()), Applied)


async def test_a_fault_for_one_mentor_leaves_the_others_alone(
    portal: Emulator, client: DataverseClient | PortalClient, state: StateFactory
) -> None:
    sick, well = MENTORS[:2]
    portal.script(status=500, mentor=sick, times=2)

    answers = [await client.set(state(mentor_id=mentor)) for mentor in (sick, well, sick, sick)]

    kinds = [type(answer) for answer in answers]
    assert kinds == [Unclear, Applied, Unclear, Applied]


async def test_racing_versions_leave_the_newest(
    portal: Emulator, client: DataverseClient | PortalClient, state: StateFactory
) -> None:
    """Compare-and-set makes the order of arrival irrelevant."""
    versions = [3, 1, 5, 2, 4]

    await asyncio.gather(*(client.set(state(n, visible=n % 2 == 0), newest=5) for n in versions))

    row = portal.row(state().mentor_id)
    assert row is not None
    assert (row.stored.version, row.stored.visible) == (5, False)


@webhook
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"content": b"{}"}, 400),
        ({"content": b"x" * 30_000}, 413),
        ({"headers": {"content-type": "text/plain"}}, 415),
        ({"headers": {"webhook-id": "vis_other_1"}}, 422),
    ],
)
async def test_the_emulator_refuses_what_the_contract_forbids(
    portal: Emulator, change: dict[str, object], status: int
) -> None:
    """Our own client sends none of these, so they are sent by hand."""
    assert isinstance(portal, PortalEmulator)
    portal.auth = AuthMode.OAUTH
    form = {
        "grant_type": "client_credentials",
        "client_id": portal.tokens.client_id,
        "client_secret": portal.tokens.client_secret,
        "scope": "x/.default",
    }
    body = (
        b'{"type":"mentor.visibility.set","timestamp":"2026-03-02T00:05:04Z","data":'
        b'{"organisation":"HLF","mentor_id":"9c4a3a51-4b7e-49be-8f24-5d6a77f3c0aa","version":7,'
        b'"visible":false,"reason":"certificate_lapsed","effective_at":"2026-03-01T23:00:00Z"}}'
    )
    async with httpx.AsyncClient(trust_env=False) as http:
        token = (await http.post(portal.token_url, data=form)).json()["access_token"]
        headers = {
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "webhook-id": "vis_9c4a3a514b7e49be8f245d6a77f3c0aa_7",
        }
        given: dict[str, object] = {"content": body, **change}
        more = given.pop("headers", {})
        assert isinstance(more, dict)
        refused = await http.post(
            f"{portal.base_url}/v1/visibility",
            headers=headers | more,
            content=given["content"],  # type: ignore[arg-type]
        )

    assert refused.status_code == status
    assert portal.row(UUID("9c4a3a51-4b7e-49be-8f24-5d6a77f3c0aa")) is None


@webhook
@pytest.mark.parametrize("limit", ["0", "501", "many"])
async def test_the_emulator_refuses_a_page_size_out_of_bounds(
    portal: Emulator, client: DataverseClient | PortalClient, limit: str
) -> None:
    listing = await client.listing(limit=limit)  # type: ignore[arg-type]

    assert listing.problem == "ourfault"
    assert portal.requests(Route.LIST)[0].status == 400


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"client_secret": "wrong"}, 401, 7000215),
        ({"client_id": "somebody"}, 400, 700016),
        ({"scope": "https://portal.invalid/user"}, 400, 70011),
        ({"grant_type": "password"}, 400, 70003),
    ],
)
async def test_the_token_endpoint_answers_as_entra_does(
    portal: Emulator, change: dict[str, str], status: int, code: int
) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": portal.tokens.client_id,
        "client_secret": portal.tokens.client_secret,
        "scope": "https://portal.invalid/.default",
    }
    async with httpx.AsyncClient(trust_env=False) as http:
        refused = await http.post(portal.token_url, data=form | change)

    assert refused.status_code == status
    assert refused.json()["error_codes"] == [code]
