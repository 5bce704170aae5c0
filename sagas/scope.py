"""The emergency switch: coordinators of a whole organisation follow up every mentor of it (VIS-7).

For the night in which a chapter has nobody. It is off unless somebody turned it on, says until when
and why, and the database writes every turn down (AUD-1). What a
person may do is for policies to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sagas import audit, queries_access
from sagas.audit import AuditEntry
from sagas.coordinator import Forbidden
from sagas.operator import OF_ONE_ORGANISATION

if TYPE_CHECKING:
    from uuid import UUID

    from psycopg import AsyncConnection

FLAG: Final = "widen_coordinator_scope"
WIDE_FOR_MAX: Final = timedelta(days=7)
"""An emergency that lasts longer is a change of roles, and those are tables of their own."""

WHO_MAY: Final = "an administrator of the organisation"


class SwitchRefused(ValueError):
    """The switch cannot be turned like that. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Scope:
    """How the switch of one organisation stands."""

    organisation: str
    wide: bool
    expires_at: datetime | None = None
    reason: str | None = None


async def turn(  # noqa: PLR0913 - one switch, all of it named
    conn: AsyncConnection[Any],
    *,
    organisation_id: UUID,
    actor_id: UUID,
    until: datetime | None,
    reason: str,
    now: datetime,
) -> None:
    """Widen until `until` (aware, at most `WIDE_FOR_MAX` from now), or with None narrow at once.

    Raises `SwitchRefused`, or `Forbidden` after the refusal was audited and committed, if the
    connection given was idle.
    """
    if until is not None and not now < until <= now + WIDE_FOR_MAX:
        problem = (
            f"an end at {until.isoformat(timespec='minutes')} cannot be; "
            f"give one within {WIDE_FOR_MAX.days} days from now"
        )
        raise SwitchRefused(problem)
    if not reason.strip():
        problem = "say why: it is read by whoever asks later"
        raise SwitchRefused(problem)
    async with conn.transaction():
        role = await queries_access.widest_role(conn, actor_id, organisation_id=organisation_id)
        if role in OF_ONE_ORGANISATION:
            await queries_access.turn_scope(
                conn,
                organisation_id,
                flag=FLAG,
                until=until,
                reason=reason,
                actor_id=actor_id,
                now=now,
            )
            return
        entry = AuditEntry(
            at=now,
            action="scope.switched",
            actor_id=actor_id,
            actor_role=audit.NO_ROLE,
            organisation_id=organisation_id,
            subject={"flag": FLAG},
            after={"outcome": "refused"},
        )
        await audit.record(conn, entry)
    raise Forbidden(what="the emergency switch", who_may=WHO_MAY)


async def scopes(conn: AsyncConnection[Any], *, now: datetime) -> list[Scope]:
    """How the switch of every organisation stands."""
    found = await queries_access.list_scopes(conn, flag=FLAG, now=now)
    return [Scope(*row) for row in found]
