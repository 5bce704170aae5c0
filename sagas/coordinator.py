"""What a coordinator may do about a mentor's portal sync: try again now, or force a new version.

Both functions own their transaction: give an idle connection. A refusal is audited and committed
before `Forbidden` is raised. Rights come from tables alone; being the mentor himself gives none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from outbox import redrive
from outbox.redrive import Selection
from sagas import audit, queries_access
from sagas.audit import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from outbox import App
    from sagas.queries_access import LockedMentor

PORTAL: Final = "portal"
"""The handler whose deliveries carry visibility to the portal."""

CLICKS_WITHIN: Final = timedelta(seconds=60)
"""Repeated clicks on one mentor within this time are one."""

WHO_MAY: Final = (
    "a coordinator assigned to the mentor or of one of his chapters, an admin of one of his "
    "chapters, or an admin of the organisation"
)


class Forbidden(Exception):
    """The actor has no role that reaches the mentor. Audited; nothing was changed."""

    def __init__(self, *, what: str, who_may: str = WHO_MAY) -> None:
        super().__init__(f"{what} is not allowed; allowed to {who_may}")
        self.what, self.who_may = what, who_may


class UnknownMentor(LookupError):
    """There is no such mentor. Nothing was changed."""

    def __init__(self, mentor_id: UUID) -> None:
        super().__init__(f"there is no mentor {mentor_id}")
        self.mentor_id = mentor_id


class NoChannel(ValueError):
    """The mentor's organisation shows nobody on a portal, so there is nothing to send."""

    def __init__(self, mentor_id: UUID) -> None:
        super().__init__(
            f"the organisation of mentor {mentor_id} has no visibility channel; "
            "set organisations.visibility_channel first"
        )
        self.mentor_id = mentor_id


@dataclass(frozen=True, slots=True)
class Retried:
    """What a retry led to: deliveries made due, dead letters brought back.

    `repeated`: an earlier click within a minute did it already; the numbers are those of that one.
    Zero and zero: nothing was waiting, the portal has confirmed or is being called right now.
    """

    mentor_id: UUID
    version: int
    made_due: int
    redriven: int
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Forced:
    """The version a forced sync published; `repeated` as in `Retried`."""

    mentor_id: UUID
    version: int
    repeated: bool = False


_Effect: TypeAlias = "Callable[[LockedMentor], Awaitable[dict[str, Any]]]"


async def retry_sync(  # noqa: PLR0913 - one press of a button, all of it named
    conn: AsyncConnection[Any],
    *,
    app: App,
    mentor_id: UUID,
    actor_id: UUID,
    now: datetime,
    request_id: str | None = None,
) -> Retried:
    """Make the mentor's waiting or dead portal delivery due now, its ladder of waits restarted.

    Raises `Forbidden`, `UnknownMentor` or `NoChannel`.
    """

    async def effect(mentor: LockedMentor) -> dict[str, Any]:
        key = f"mentor:{mentor_id}"
        made_due = await redrive.make_due(conn, handler=PORTAL, key=key, now=now)
        redriven = await redrive.redrive(
            conn, app, Selection(handler=PORTAL, key=key), actor=str(actor_id)
        )
        return {
            "version": mentor.visibility_version,
            "made_due": made_due,
            "redriven": len(redriven.raised),
        }

    click = _Click("sync.retry", mentor_id, actor_id, now, request_id)
    done, repeated = await click.carry_out(conn, effect)
    return Retried(mentor_id, done["version"], done["made_due"], done["redriven"], repeated)


async def force_sync(
    conn: AsyncConnection[Any],
    *,
    mentor_id: UUID,
    actor_id: UUID,
    now: datetime,
    request_id: str | None = None,
) -> Forced:
    """Publish a new version of the mentor's unchanged state, also when nothing is pending.

    Raises `Forbidden`, `UnknownMentor` or `NoChannel`.
    """

    async def effect(_: LockedMentor) -> dict[str, Any]:
        version = await queries_access.bump_visibility(
            conn, mentor_id, reason="force_sync", now=now
        )
        return {"version": version}

    click = _Click("sync.force", mentor_id, actor_id, now, request_id)
    done, repeated = await click.carry_out(conn, effect)
    return Forced(mentor_id, done["version"], repeated)


@dataclass(frozen=True, slots=True)
class _Click:
    """One press of one button by one actor on one mentor."""

    action: str
    mentor_id: UUID
    actor_id: UUID
    now: datetime
    request_id: str | None

    async def carry_out(
        self, conn: AsyncConnection[Any], effect: _Effect
    ) -> tuple[dict[str, Any], bool]:
        """Check, act and audit in one transaction; the effect's facts, and whether repeated."""
        async with conn.transaction():
            mentor = await queries_access.lock_mentor(conn, self.mentor_id)
            if mentor is None:
                raise UnknownMentor(self.mentor_id)
            role = await queries_access.actor_role(
                conn, actor_id=self.actor_id, mentor_id=self.mentor_id
            )
            if role is not None:
                return await self._act(conn, mentor, role, effect)
            await self._record(conn, mentor, audit.NO_ROLE, {"outcome": "refused"})
        raise Forbidden(what=f"{self.action} of mentor {self.mentor_id}")

    async def _act(
        self, conn: AsyncConnection[Any], mentor: LockedMentor, role: str, effect: _Effect
    ) -> tuple[dict[str, Any], bool]:
        if mentor.visibility_channel == "none":
            raise NoChannel(self.mentor_id)
        earlier = await queries_access.recent_action(
            conn,
            organisation_id=mentor.organisation_id,
            mentor_id=self.mentor_id,
            action=self.action,
            since=self.now - CLICKS_WITHIN,
        )
        if earlier is not None:
            await self._record(conn, mentor, role, {**earlier, "outcome": "repeated"})
            return dict(earlier), True
        done = await effect(mentor)
        await self._record(conn, mentor, role, {**done, "outcome": "done"})
        return done, False

    async def _record(
        self, conn: AsyncConnection[Any], mentor: LockedMentor, role: str, after: dict[str, Any]
    ) -> None:
        entry = AuditEntry(
            at=self.now,
            action=self.action,
            actor_id=self.actor_id,
            actor_role=role,
            organisation_id=mentor.organisation_id,
            mentor_id=self.mentor_id,
            before={"version": mentor.visibility_version},
            after=after,
            request_id=self.request_id,
        )
        await audit.record(conn, entry)
