"""A pause or reactivation by hand: state, history, messages and audit in one transaction.

Whether the actor may is decided before, by row-level security (VIS-2): these functions do what was
allowed, or write down that it was not. The database publishes what follows: the portal's message,
and the one that `sagas.status_notices` makes notices of (PAU-10).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sagas import audit, queries_access
from sagas.audit import AuditEntry

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from sagas.queries_access import Standing

INACTIVE: Final = "inactive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Somebody pauses (`paused` True) or reactivates a mentor."""

    mentor_id: UUID
    actor_id: UUID
    paused: bool
    reason: str | None
    now: datetime
    request_id: str | None = None

    @property
    def action(self) -> str:
        """Its name in the audit."""
        return "mentor.pause" if self.paused else "mentor.reactivate"


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it; neither `changed` nor `refused`: it was so already.

    `refused` is the word for why not: `inactive` (he has left), `certificate_lapsed` or
    `own_certificate_pause`.
    """

    changed: bool
    version: int
    refused: str | None = None


async def carry_out(conn: AsyncConnection[Any], act: Act) -> Done:
    """Do it, and write a refusal down; the mentor exists and his row is locked."""
    standing = await queries_access.standing_of_mentor(conn, act.mentor_id)
    assert standing is not None, "the row is locked, so it is there"
    wanted = "paused" if act.paused else "active"
    if standing.status in {wanted, INACTIVE}:
        refused = INACTIVE if standing.status == INACTIVE else None
        done = Done(changed=False, version=standing.version, refused=refused)
    else:
        changed, version, refused = await queries_access.change_by_hand(
            conn,
            mentor_id=act.mentor_id,
            actor_id=act.actor_id,
            paused=act.paused,
            reason=act.reason,
            now=act.now,
        )
        done = Done(changed, version, refused)
    if done.refused is not None:
        await _record(conn, act, standing, {"outcome": "refused", "refused": done.refused})
    return done


async def note_refusal(conn: AsyncConnection[Any], act: Act) -> None:
    """Write down that somebody tried who may not; nothing if there is no such mentor (VIS-9)."""
    standing = await queries_access.standing_of_mentor(conn, act.mentor_id)
    if standing is not None:
        await _record(conn, act, standing, {"outcome": "refused"})


async def _record(
    conn: AsyncConnection[Any], act: Act, standing: Standing, after: dict[str, str]
) -> None:
    entry = AuditEntry(
        at=act.now,
        action=act.action,
        actor_id=act.actor_id,
        actor_role=audit.NO_ROLE,
        organisation_id=standing.organisation.id,
        mentor_id=act.mentor_id,
        before={"status": standing.status},
        after=after,
        request_id=act.request_id,
    )
    await audit.record(conn, entry)
