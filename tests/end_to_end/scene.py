"""The whole application on a real database, in front of emulators, in a time of its own."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from handlers.emulators.fcm import generate_key
from handlers.emulators.portal_faults import Route
from outbox import VirtualClock
from outbox.saga import queries as saga_queries
from outbox.testing.harness import NoJitter
from sagas.demo import Stage, staged
from tests.sagas.world import NOW, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from uuid import UUID

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from handlers.emulators.dataverse import DataverseEmulator
    from handlers.emulators.fcm import FcmEmulator
    from handlers.emulators.portal import PortalEmulator
    from sagas.results import NightlyReport
    from sagas.run import Organisation

ALR_1 = "Dynamics sync pending — mentor may still be visible on portal"
"""The text coordinators read, by rule ALR-1."""


@cache
def key() -> RSAPrivateKey:
    """One key for the whole run: making one costs half a second."""
    return generate_key()


async def until(holds: Callable[[], bool]) -> None:
    """Let everything else run until what can be seen from outside holds; 30 s at most."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - an emulator's log tells nobody when it grows
            await asyncio.sleep(0)


@dataclass
class Scene:
    """People on one side, the application and its emulators on the other; nothing waits."""

    world: World
    stage: Stage

    @classmethod
    @asynccontextmanager
    async def on(cls, dsn: str, *, channel: str = "webhook") -> AsyncIterator[Scene]:
        """Set the scene on a migrated database, in the night of the world."""
        clock = VirtualClock(NOW)
        async with (
            World.on(dsn) as world,
            staged(dsn, clock, key=key(), random=NoJitter(), channel=channel) as stage,
        ):
            world.channel = channel
            yield cls(world, stage)

    @property
    def portal(self) -> PortalEmulator | DataverseEmulator:
        """The portal."""
        return self.stage.portal

    @property
    def fcm(self) -> FcmEmulator:
        """The push service."""
        return self.stage.fcm

    def called(self, mentor: UUID | None = None) -> int:
        """How many requests reached the portal, to write or to read, about one or about all."""
        return sum(len(self.portal.requests(route, mentor)) for route in (Route.SET, Route.READ))

    async def answers(self, mentor: UUID, handler: str = "portal") -> list[tuple[int, str, str]]:
        """Version, outcome and answer of every attempt about a mentor, oldest first.

        The answer is the portal's as the adapter understood it, else why there was none.
        """
        rows = await self.world.rows(
            "select (m.payload ->> 'version')::int as version, r.outcome,"
            " coalesce(r.detail ->> 'cause', r.detail ->> 'answer', r.reason) as answer"
            " from outbox.receipt r join outbox.message m on m.id = r.message_id"
            " where r.handler = %s and m.payload ->> 'mentor_id' = %s order by r.id",
            *(handler, str(mentor)),
        )
        return [(row["version"], row["outcome"], row["answer"]) for row in rows]

    async def drain(self) -> int:
        """Deliver what is due now."""
        return await self.stage.relay.drain()

    async def night(self) -> NightlyReport:
        """One nightly run at this instant, and what it left due."""
        return await self.stage.night()

    async def pass_time(self, **by: float) -> None:
        """Let time pass, for the database's triggers too; deliver nothing."""
        await self.world.at(self.stage.clock.advance(timedelta(**by)))

    async def later(self, **by: float) -> None:
        """Let time pass and deliver what has come due."""
        await self.pass_time(**by)
        await self.drain()

    async def followed_mentor(self, organisation: Organisation, *, days: int) -> tuple[UUID, UUID]:
        """A mentor so many days before his last valid day, and the coordinator of his chapter."""
        chapter = await self.world.chapter(organisation)
        mentor = await self.world.mentor(organisation, chapter, days=days)
        return mentor, await self.world.coordinator(organisation, chapter)

    async def known_mentor(self, organisation: Organisation) -> tuple[UUID, UUID]:
        """A visible mentor whose version 1 the portal has confirmed, and his coordinator."""
        mentor, coordinator = await self.followed_mentor(organisation, days=100)
        await self.bump(mentor)
        await self.drain()
        row = self.portal.row(mentor)
        assert row is not None
        assert row.stored.version == 1
        return mentor, coordinator

    async def bump(self, mentor: UUID) -> int:
        """A new version of the same state; the version."""
        version: int = await self.world.value("select app.bump_visibility(%s)", mentor)
        return version

    async def pause(self, mentor: UUID) -> int:
        """A pause by hand; the version."""
        version: int = await self.world.value(
            "select version from app.pause_mentor(%s, %s)", mentor, mentor
        )
        return version

    async def alerts(self, *, resolved: bool = False) -> list[dict[str, Any]]:
        """Alerts that are open, or those that were, oldest first."""
        return await self.world.rows(
            "select type, text, severity, mentor_id, opened_at, resolved_at, escalated_at"
            " from dashboard_alerts where (resolved_at is not null) = %s order by opened_at, type",
            resolved,
        )

    async def alert_types(self) -> list[str]:
        """The types of the open alerts."""
        return sorted(alert["type"] for alert in await self.alerts())

    async def sync_of(self, mentor: UUID) -> tuple[int, str]:
        """Version and status of a mentor's way to the portal, as the application shows it."""
        (row,) = await self.world.rows(
            "select version, status from visibility_sync_events where mentor_id = %s", mentor
        )
        return row["version"], row["status"]

    async def mentor_status(self, mentor: UUID) -> str:
        """Active, paused or inactive."""
        found: str = await self.world.value("select status from peer_mentors where id = %s", mentor)
        return found

    async def timeline(self, mentor: UUID) -> list[tuple[str, str]]:
        """What the mentor's newest visibility saga was told, and its note on it."""
        async with self.stage.relay.pool.connection() as conn:
            rows = await saga_queries.list_sagas(conn, name="visibility", limit=100)
            newest = max(row["id"] for row in rows if row["key"] == f"mentor:{mentor}")
            found = await saga_queries.show_saga(conn, newest)
        assert found is not None
        return [(step["topic"], step["change"]["note"]) for step in found[1]]

    async def open_sagas(self) -> int:
        """How many visibility sagas still watch."""
        found: int = await self.world.value(
            "select count(*) from outbox.saga where ended_at is null"
        )
        return found

    async def statuses(self) -> dict[str, int]:
        """Pushes by how they stand."""
        rows = await self.world.rows(
            "select status, count(*) as n from notification_groups group by status"
        )
        return {row["status"]: row["n"] for row in rows}

    async def log(self) -> list[tuple[str, int]]:
        """Status and attempts of every entry of the notification log, in the order told."""
        rows = await self.world.rows(
            "select status, attempts from cert_notification_log order by created_at, id"
        )
        return [(row["status"], row["attempts"]) for row in rows]
