"""A small world to test in: organisations, people, certificates, devices, by readable calls.

Days are counted from the world's `now` in the organisation's zone, so a test says `days=30` and
means the tier it names.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, LiteralString
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import dict_row

from sagas.policies import in_force
from sagas.reminders import run_audience, run_reminders
from sagas.run import Organisation, RunContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from handlers.texts import Audience
    from sagas.policy import Policy
    from sagas.results import OrchestrationResult

NOW = datetime(2026, 3, 2, 0, 5, tzinfo=UTC)
"""A night before the summer time of Oslo begins."""


@dataclass
class World:
    """One migrated database. `conn` is in autocommit; `transaction` opens a second connection."""

    dsn: str
    conn: psycopg.AsyncConnection[dict[str, Any]]
    now: datetime = NOW
    channel: str = "webhook"
    """The way to the portal of an organisation that names none."""

    @classmethod
    @asynccontextmanager
    async def on(cls, dsn: str) -> AsyncIterator[World]:
        """Open the world on a migrated database."""
        conn = await psycopg.AsyncConnection.connect(dsn, autocommit=True, row_factory=dict_row)
        async with conn:
            world = cls(dsn, conn)
            await world.at(NOW)
            yield world

    async def at(self, now: datetime) -> None:
        """Move the world's time, for its triggers too."""
        self.now = now
        await self.conn.execute("select set_config('app.now', %s, false)", [now.isoformat()])

    async def pass_days(self, days: int) -> None:
        """Move on by whole days."""
        await self.at(self.now + timedelta(days=days))

    def run(self, **changes: Any) -> RunContext:
        """A new run at the world's now."""
        return replace(RunContext(run_id=uuid4(), now=self.now), **changes)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection of its own in a transaction that commits at the end."""
        async with (
            await psycopg.AsyncConnection.connect(self.dsn) as conn,
            conn.transaction(),
        ):
            yield conn

    async def rows(self, query: LiteralString, *values: object) -> list[dict[str, Any]]:
        """The rows of a question."""
        return await (await self.conn.execute(query, values)).fetchall()

    async def value(self, query: LiteralString, *values: object) -> Any:
        """The one value of a question."""
        (row,) = await self.rows(query, *values)
        (value,) = row.values()
        return value

    async def organisation(self, code: str = "HLF", **columns: Any) -> Organisation:
        """An organisation; with the world's way to the portal unless the columns say otherwise."""
        given: dict[str, Any] = {
            "timezone": "Europe/Oslo",
            "visibility_channel": self.channel,
            "go_live_date": None,
            **columns,
        }
        made = await self.value(
            "insert into organisations (code, name, timezone, visibility_channel, go_live_date)"
            " values (%s, %s, %s, %s, %s) returning id",
            *(code, code, given["timezone"], given["visibility_channel"], given["go_live_date"]),
        )
        return Organisation(made, code, **given)

    async def chapter(self, organisation: Organisation, name: str = "Oslo") -> UUID:
        """A chapter."""
        made: UUID = await self.value(
            "insert into chapters (organisation_id, name) values (%s, %s) returning id",
            *(organisation.id, name),
        )
        return made

    async def mentor(
        self,
        organisation: Organisation,
        *chapters: UUID,
        days: int | None = None,
        status: str = "active",
        device: bool = True,
    ) -> UUID:
        """A mentor; with `days` he holds a certificate that many days from its last valid day."""
        mentor: UUID = await self.value(
            "insert into peer_mentors (organisation_id, status) values (%s, %s) returning id",
            *(organisation.id, status),
        )
        for chapter in chapters:
            await self.conn.execute(
                "insert into chapter_memberships (mentor_id, chapter_id) values (%s, %s)",
                [mentor, chapter],
            )
        if device:
            await self.device(mentor)
        if days is not None:
            await self.certificate(organisation, mentor, days=days)
        return mentor

    async def coordinator(
        self,
        organisation: Organisation,
        *chapters: UUID,
        role: str = "coordinator",
        device: bool = True,
        user: UUID | None = None,
        active: bool = True,
    ) -> UUID:
        """Somebody with a role in these chapters, or in the organisation if none is named."""
        person = user or uuid4()
        for chapter in chapters or (None,):
            await self.conn.execute(
                "insert into user_roles (user_id, organisation_id, chapter_id, role, active)"
                " values (%s, %s, %s, %s, %s)",
                [person, organisation.id, chapter, role, active],
            )
        if device:
            await self.device(person)
        return person

    async def assign(self, mentor: UUID, coordinator: UUID, *, active: bool = True) -> None:
        """Assign a coordinator to a mentor."""
        await self.conn.execute(
            "insert into assignments (mentor_id, coordinator_id, active) values (%s, %s, %s)",
            [mentor, coordinator, active],
        )

    async def device(self, user: UUID, *, invalid: bool = False, silent_days: int = 0) -> None:
        """A device, last seen so many days ago."""
        await self.conn.execute(
            "insert into device_tokens (user_id, address, last_seen_at, invalidated_at)"
            " values (%s, %s, %s, %s)",
            [
                user,
                f"ok-{uuid4()}",
                self.now - timedelta(days=silent_days),
                self.now if invalid else None,
            ],
        )

    async def certificate(
        self,
        organisation: Organisation,
        mentor: UUID,
        *,
        days: int | None,
        kind: str = "basic",
        required: bool = True,
        issued_on: date | None = None,
    ) -> UUID:
        """A certificate whose last valid day is so many days away; None: without expiry."""
        expiry = None if days is None else self.day(organisation, days)
        made: UUID = await self.value(
            "insert into certifications"
            " (mentor_id, certificate_type, expiry_date, required, issued_on)"
            " values (%s, %s, %s, %s, %s) returning id",
            *(mentor, kind, expiry, required, issued_on),
        )
        return made

    def day(self, organisation: Organisation, days: int) -> date:
        """The civil day that many days from today there."""
        return organisation.today(self.run()) + timedelta(days=days)

    async def policy(
        self, organisation: Organisation, audience: str, thresholds: list[int], **columns: Any
    ) -> None:
        """An organisation's own policy, not in force until `flag` says so."""
        given = {"cadence": "once_per_tier", "grouping": "per_run", "guard_hours": 20, **columns}
        await self.conn.execute(
            "insert into notification_policies"
            " (organisation_id, audience, thresholds, cadence, grouping, guard_hours)"
            " values (%s, %s, %s, %s, %s, %s)",
            [
                organisation.id,
                audience,
                thresholds,
                given["cadence"],
                given["grouping"],
                given["guard_hours"],
            ],
        )

    async def flag(self, organisation: Organisation, *, enabled: bool = True) -> None:
        """Switch the organisation's own policies on or off."""
        await self.conn.execute(
            "insert into feature_flags (organisation_id, flag, enabled)"
            " values (%s, 'per_org_thresholds', %s)"
            " on conflict (organisation_id, flag) do update set enabled = excluded.enabled",
            [organisation.id, enabled],
        )

    async def route(self, topic: str, handler: str) -> None:
        """Let an ordered handler exist, so that messages of `topic` become deliveries."""
        await self.conn.execute("insert into outbox.destination (handler) values (%s)", [handler])
        await self.conn.execute(
            "insert into outbox.route (topic, handler, ordered) values (%s, %s, true)",
            [topic, handler],
        )

    async def remind(
        self, organisation: Organisation, audience: Audience | None = None, **changes: Any
    ) -> OrchestrationResult:
        """Run the reminders of one audience, or of both, in one committed transaction."""
        run = self.run(**changes)
        async with self.transaction() as conn:
            if audience is None:
                return await run_reminders(conn, organisation, run)
            policies: Any = await in_force(conn, organisation, run)
            policy: Policy = policies[audience]
            return await run_audience(conn, organisation, run, policy)

    async def requested(self, topic: str = "notification.requested") -> list[UUID]:
        """The groups asked for on `topic`, in publish order."""
        rows = await self.rows(
            "select payload ->> 'group_id' as id from outbox.message where topic = %s order by id",
            topic,
        )
        return [UUID(row["id"]) for row in rows]

    async def settle(self, status: str, *, attempts: int = 3, error: str | None = None) -> None:
        """Let every queued push end in `status`, as the push handler's record writes it."""
        for table in ("notification_groups", "cert_notification_log"):
            await self.conn.execute(
                psycopg.sql.SQL(
                    "update {} set status = %s, attempts = attempts + %s, error_class = %s,"
                    " settled_at = %s where status = 'queued'"
                ).format(psycopg.sql.Identifier(table)),
                [status, attempts, error, self.now],
            )
