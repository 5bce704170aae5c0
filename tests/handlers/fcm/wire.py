"""What the tests of push are made of: clocks that move when told to, clients, and pushes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from handlers.fcm import FcmClient, ServiceAccountGrant
from handlers.fcm.encode import AddressKind, Device, Push, dedup_tag
from handlers.http import PostClient, http_client
from handlers.token_provider import TokenProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import httpx

    from handlers.emulators.fcm import FcmEmulator

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@dataclass
class Time:
    """Wall and monotonic clock of one test; both move only when told to."""

    wall: datetime = NOON
    monotonic: float = 1000.0

    def now(self) -> datetime:
        return self.wall

    def ticks(self) -> float:
        return self.monotonic

    def advance(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.monotonic += seconds


@asynccontextmanager
async def clients(patience: timedelta) -> AsyncIterator[tuple[httpx.AsyncClient, PostClient]]:
    """What fetches tokens and what posts pushes."""
    posts = PostClient(timeout=patience, connections_max=20)
    async with http_client(timeout=patience, connections_max=20) as http:
        yield http, posts
    await posts.aclose()


@dataclass
class Wire:
    """The emulator and what talks to it."""

    fcm: FcmEmulator
    http: httpx.AsyncClient
    posts: PostClient
    account: dict[str, str]
    time: Time
    tokens: TokenProvider = field(init=False)
    client: FcmClient = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = self.provider()
        self.client = FcmClient(
            self.posts,
            self.tokens,
            base_url=self.fcm.base_url,
            project_id=self.fcm.project_id,
            now=self.time.now,
        )

    def provider(self, *, time: Time | None = None) -> TokenProvider:
        clock = time or self.time
        return TokenProvider(
            self.http,
            self.fcm.token_url,
            ServiceAccountGrant(lambda: self.account),
            monotonic=clock.ticks,
            wall=clock.now,
        )


def device(
    address: str, *, kind: AddressKind = AddressKind.TOKEN, id_: UUID | None = None
) -> Device:
    return Device(id_ or uuid4(), address, kind, NOON - timedelta(days=1))


def push(address: str = "ok-1", **changes: Any) -> Push:
    given: Mapping[str, Any] = {
        "device": device(address),
        "title": "Sertifikatet ditt utløper snart",
        "body": "Det er 30 dager eller mindre igjen.",
        "data": {"schema": "1", "kind": "cert_expiry_reminder"},
        "tag": dedup_tag(address),
        "ttl": timedelta(hours=72),
        "urgent": False,
        "channel": "certificates",
        "label": "cert_expiry_30",
    }
    return Push(**{**given, **changes})
