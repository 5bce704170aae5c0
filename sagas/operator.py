"""Retrying single deliveries and dead letters at a person's word: rights first, audited always."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from outbox import redrive, unknown
from outbox.redrive import Selection
from sagas import audit, queries_access
from sagas.audit import AuditEntry
from sagas.coordinator import Forbidden

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection

    from outbox import App

OF_ONE_ORGANISATION: Final = frozenset({"hlf_admin", "org_admin"})
OF_ALL: Final = frozenset({"hlf_admin"})
"""Who may act on what belongs to no single organisation."""
RETRIES_PER_SECOND: Final = 50
"""How many dead letters of a retry fall due each second."""
_MENTOR: Final = "mentor:"


class UnknownDelivery(LookupError):
    """There is no such delivery waiting or dead; it may be settled."""

    def __init__(self, delivery_id: int) -> None:
        super().__init__(
            f"delivery {delivery_id} is nothing a retry could bring forward; "
            f"`outbox explain {delivery_id}` tells how it stands"
        )
        self.delivery_id = delivery_id


@dataclass(frozen=True, slots=True)
class Redriven:
    """What a retry led to, or with `dry_run` would lead to."""

    made_due: int
    redriven: int
    dry_run: bool


async def retry_delivery(  # noqa: PLR0913 - one act, all of it named
    conn: AsyncConnection[Any],
    *,
    app: App,
    delivery_id: int,
    actor_id: UUID,
    now: datetime,
    dry_run: bool,
) -> Redriven:
    """Let one delivery be tried now, from the dead or from unknown if need be.

    Who may follow up the mentor it concerns may do this; without one, administrators of the
    organisation it belongs to, and without that, of all. Raises `Forbidden` or `UnknownDelivery`.
    """
    async with conn.transaction():
        found = await queries_access.concerned_by_delivery(conn, delivery_id)
        if found is None:
            raise UnknownDelivery(delivery_id)
        key, waiting, dead, organisation_id = found
        mentor_id = _mentor_of(key)
        role = await _role(conn, actor_id, mentor_id, organisation_id)
        if role is not None:
            done = Redriven(waiting, dead, dry_run)
            if not dry_run:
                done = await _carry_out(conn, app, delivery_id, actor_id, now)
            await _record(conn, "delivery.retry", actor_id, role, now, done, mentor_id, delivery_id)
            return done
        none = Redriven(0, 0, dry_run)
        await _record(
            conn, "delivery.retry", actor_id, audit.NO_ROLE, now, none, mentor_id, delivery_id
        )
    raise Forbidden(what=f"retry of delivery {delivery_id}")


async def retry_dead(  # noqa: PLR0913 - one act, all of it named
    conn: AsyncConnection[Any],
    *,
    app: App,
    actor_id: UUID,
    now: datetime,
    dry_run: bool,
    failure_group: str | None = None,
) -> Redriven:
    """Give every dead letter, or those of a failure group, a new life, paced. Raises `Forbidden`.

    Both reach over organisations, so both are for administrators of all.
    """
    action = "dead.retry_all" if failure_group is None else "dead.retry_group"
    async with conn.transaction():
        role = await queries_access.widest_role(conn, actor_id, organisation_id=None)
        if role in OF_ALL:
            begun = await redrive.redrive(
                conn, app, Selection(failure_group=failure_group), actor=str(actor_id),
                pace=RETRIES_PER_SECOND, dry_run=dry_run,
            )  # fmt: skip
            done = Redriven(0, begun.found, dry_run)
            await _record(conn, action, actor_id, role, now, done, failure_group=failure_group)
            return done
        none = Redriven(0, 0, dry_run)
        await _record(conn, action, actor_id, audit.NO_ROLE, now, none, failure_group=failure_group)
    what = "all dead letters" if failure_group is None else f"failure group {failure_group}"
    raise Forbidden(what=f"retry of {what}")


async def _carry_out(
    conn: AsyncConnection[Any], app: App, delivery_id: int, actor_id: UUID, now: datetime
) -> Redriven:
    actor = str(actor_id)
    made_due = await redrive.make_delivery_due(conn, delivery_id=delivery_id, now=now)
    made_due += len(await unknown.resend(conn, app, [delivery_id], actor=actor))
    risen = await redrive.redrive(conn, app, Selection(delivery_ids=(delivery_id,)), actor=actor)
    return Redriven(made_due, len(risen.raised), dry_run=False)


async def _role(
    conn: AsyncConnection[Any],
    actor_id: UUID,
    mentor_id: UUID | None,
    organisation_id: UUID | None,
) -> str | None:
    if mentor_id is not None:
        return await queries_access.actor_role(conn, actor_id=actor_id, mentor_id=mentor_id)
    role = await queries_access.widest_role(conn, actor_id, organisation_id=organisation_id)
    return role if role in (OF_ALL if organisation_id is None else OF_ONE_ORGANISATION) else None


def _mentor_of(key: str | None) -> UUID | None:
    if key is None or not key.startswith(_MENTOR):
        return None
    try:
        return UUID(key.removeprefix(_MENTOR))
    except ValueError:
        return None


async def _record(  # noqa: PLR0913, PLR0917 - the columns of one audit row
    conn: AsyncConnection[Any],
    action: str,
    actor_id: UUID,
    role: str,
    now: datetime,
    done: Redriven,
    mentor_id: UUID | None = None,
    delivery_id: int | None = None,
    failure_group: str | None = None,
) -> None:
    outcome = "refused" if role == audit.NO_ROLE else "dry_run" if done.dry_run else "done"
    entry = AuditEntry(
        at=now,
        action=action,
        actor_id=actor_id,
        actor_role=role,
        mentor_id=mentor_id,
        subject={
            name: value
            for name, value in (("delivery_id", delivery_id), ("failure_group", failure_group))
            if value is not None
        },
        after={"outcome": outcome, "made_due": done.made_due, "redriven": done.redriven},
    )
    await audit.record(conn, entry)
