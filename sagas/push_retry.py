"""Sending one push again at a person's word: one that failed, or one that nobody can account for.

A push of which it is unknown whether it arrived is sent knowing that it may arrive twice, and says
so itself (DED-12). The row of the log stays the same row: the delivery gets a new life (DED-10).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from outbox import redrive, unknown
from outbox.redrive import Selection
from sagas import audit, queries_access
from sagas.audit import AuditEntry
from sagas.coordinator import CLICKS_WITHIN, Forbidden

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from outbox import App
    from sagas.queries_access import LoggedDispatch

PUSHES: Final = "fcm"
"""The handler whose deliveries carry pushes."""

ACTION: Final = "dispatch.retry"
RETRYABLE: Final = frozenset({"failed", "unknown"})


class UnknownDispatch(LookupError):
    """There is no such row in the notification log. Nothing was changed."""

    def __init__(self, log_id: UUID) -> None:
        super().__init__(f"there is no dispatch {log_id}")
        self.log_id = log_id


class NothingToRetry(ValueError):
    """The push is in no state from which it could be sent again. Nothing was changed."""

    def __init__(self, log_id: UUID, status: str) -> None:
        super().__init__(
            f"dispatch {log_id} is {status}; only one that failed, or is unknown, is sent again"
        )
        self.log_id, self.status = log_id, status


@dataclass(frozen=True, slots=True)
class Resent:
    """What a retry led to; `repeated`: an earlier click within a minute did it already."""

    log_id: UUID
    deliveries: int
    was: str
    repeated: bool = False


async def retry_dispatch(  # noqa: PLR0913 - one press of a button, all of it named
    conn: AsyncConnection[Any],
    *,
    app: App,
    log_id: UUID,
    actor_id: UUID,
    now: datetime,
    request_id: str | None = None,
) -> Resent:
    """Let the push of one log row be sent now. Who may follow up its mentor's sync may do this.

    Raises `UnknownDispatch`, `NothingToRetry`, or `Forbidden` after the refusal was audited and
    committed, if the connection given was idle. Clicks on one row within a minute are one.
    """
    click = _Click(log_id, actor_id, now, request_id)
    async with conn.transaction():
        seen = await queries_access.find_dispatch(conn, log_id)
        if seen is None:
            raise UnknownDispatch(log_id)
        role = await queries_access.actor_role(conn, actor_id=actor_id, mentor_id=seen.mentor_id)
        if role is not None:
            return await click.carry_out(conn, app, seen, role)
        await click.record(conn, seen, audit.NO_ROLE, {"outcome": "refused"})
    raise Forbidden(what=f"retry of dispatch {log_id}")


@dataclass(frozen=True, slots=True)
class _Click:
    """One press of the button."""

    log_id: UUID
    actor_id: UUID
    now: datetime
    request_id: str | None

    async def carry_out(
        self, conn: AsyncConnection[Any], app: App, seen: LoggedDispatch, role: str
    ) -> Resent:
        """Send again, unless a click within a minute did, or there is nothing to send.

        Deliveries are locked before the log's row, as a settlement does that writes its outcome
        there: the other way round each would wait for the other.
        """
        ids: list[int] = []
        if seen.group_id is not None:
            ids = await queries_access.lock_pushes_of_group(conn, seen.group_id, handler=PUSHES)
        found = await queries_access.lock_dispatch(conn, self.log_id)
        if found is None:
            raise UnknownDispatch(self.log_id)
        earlier = await queries_access.recent_action(
            conn,
            organisation_id=found.organisation_id,
            mentor_id=found.mentor_id,
            action=ACTION,
            since=self.now - CLICKS_WITHIN,
            subject=self._subject(),
        )
        if earlier is not None:
            await self.record(conn, found, role, {**earlier, "outcome": "repeated"})
            return Resent(self.log_id, earlier["deliveries"], earlier["was"], repeated=True)
        deliveries = 0
        if found.status in RETRYABLE and ids:
            deliveries = await self._send(conn, app, ids)
        if not deliveries:
            raise NothingToRetry(self.log_id, found.status)
        after = {"outcome": "done", "deliveries": deliveries, "was": found.status}
        await self.record(conn, found, role, after)
        return Resent(self.log_id, deliveries, found.status)

    async def _send(self, conn: AsyncConnection[Any], app: App, ids: list[int]) -> int:
        actor = str(self.actor_id)
        again = len(await unknown.resend(conn, app, ids, actor=actor))
        risen = await redrive.redrive(conn, app, Selection(delivery_ids=tuple(ids)), actor=actor)
        return again + len(risen.raised)

    async def record(
        self, conn: AsyncConnection[Any], found: LoggedDispatch, role: str, after: dict[str, Any]
    ) -> None:
        """Append what was done, or refused."""
        entry = AuditEntry(
            at=self.now,
            action=ACTION,
            actor_id=self.actor_id,
            actor_role=role,
            organisation_id=found.organisation_id,
            mentor_id=found.mentor_id,
            subject=self._subject(),
            before={"status": found.status},
            after=after,
            request_id=self.request_id,
        )
        await audit.record(conn, entry)

    def _subject(self) -> dict[str, Any]:
        return {"log_id": str(self.log_id)}
