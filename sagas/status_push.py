"""The push that the app's first version orders itself after a change of status (DSP-9).

An address stands for whoever it is registered to, and must belong to the mentor or to one of those
who follow him up; so must the caller. The text comes from the catalogue, FCM's credentials stay
here, and one version of one mentor's status is told to one person once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from handlers.texts import Kind
from sagas import audit, notices, queries, queries_access
from sagas.audit import AuditEntry
from sagas.coordinator import Forbidden, UnknownMentor
from sagas.grouping import Item, status_groups
from sagas.recipients import resolve
from sagas.reminders import DEVICE_SILENT_MAX
from sagas.run import RunContext

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from sagas.queries_access import Standing

ACTION: Final = "push.ordered"
STATUS_OF: Final = {"mentor_paused": "paused", "mentor_reactivated": "active"}
SELF: Final = "peer_mentor"
BY_HAND: Final = "manual"
"""The reason a notice gives; texts of the client go nowhere."""


class StateDiffers(ValueError):
    """The mentor is not in the state the push would tell. Nothing was changed."""

    def __init__(self, status: str) -> None:
        super().__init__(f"the mentor is {status}")
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Who is to be told that a mentor's status changed; `kind` is a key of `STATUS_OF`."""

    mentor_id: UUID
    kind: str
    recipients: frozenset[UUID]
    addresses: frozenset[str]
    actor_id: UUID
    now: datetime
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """How many people were named, whose push is new, and who of them has no usable device."""

    recipients: int
    queued: int
    without_device: int


async def send(conn: AsyncConnection[Any], order: Order) -> Told:
    """Ask for the notices, once per person and version of the status.

    Raises `UnknownMentor`, `StateDiffers`, or `Forbidden` after the refusal was audited.
    """
    async with conn.transaction():
        standing = await queries_access.standing_of_mentor(conn, order.mentor_id)
        if standing is None:
            raise UnknownMentor(order.mentor_id)
        role = await _role(conn, order)
        recipients = await _reached(conn, order, standing)
        if role is not None and recipients is not None:
            return await _tell(conn, order, standing, role, recipients)
        await _record(conn, order, standing, audit.NO_ROLE, {"outcome": "refused"})
    raise Forbidden(what=f"{ACTION} about mentor {order.mentor_id}")


async def _role(conn: AsyncConnection[Any], order: Order) -> str | None:
    """In which role the caller speaks of this mentor; None: in none."""
    if order.actor_id == order.mentor_id:
        return SELF
    return await queries_access.actor_role(conn, actor_id=order.actor_id, mentor_id=order.mentor_id)


async def _reached(
    conn: AsyncConnection[Any], order: Order, standing: Standing
) -> frozenset[UUID] | None:
    """Everybody the order names; None if one of them has nothing to do with the mentor."""
    reach = await _reach(conn, standing, order.mentor_id)
    owners = await queries_access.owners_of_addresses(conn, order.addresses)
    named = order.recipients | frozenset(owners.values())
    return named if len(owners) == len(order.addresses) and named <= reach else None


async def _reach(
    conn: AsyncConnection[Any], standing: Standing, mentor_id: UUID
) -> frozenset[UUID]:
    """The mentor, and whom REC-2 finds for him."""
    directory = await queries.load_directory(conn, standing.organisation.id, [mentor_id])
    return frozenset((mentor_id, *resolve(mentor_id, directory).recipients))


async def _open(
    conn: AsyncConnection[Any], order: Order, standing: Standing, recipients: frozenset[UUID]
) -> int:
    """Open a group per recipient, under the key of this version; how many are new."""
    items = [
        Item(
            recipient_id=recipient_id,
            mentor_id=order.mentor_id,
            kind=Kind(order.kind),
            reason=BY_HAND,
        )
        for recipient_id in sorted(recipients)
    ]
    run = RunContext(run_id=uuid4(), now=order.now)
    groups = status_groups(
        items, key=f"status:{run.run_id}", versions={order.mentor_id: standing.version}
    )
    opened = await notices.open_groups(conn, standing.organisation, groups, run=run)
    return len(opened.groups)


async def _tell(
    conn: AsyncConnection[Any],
    order: Order,
    standing: Standing,
    role: str,
    recipients: frozenset[UUID],
) -> Told:
    if standing.status != STATUS_OF[order.kind]:
        raise StateDiffers(standing.status)
    told = await _open(conn, order, standing, recipients)
    usable = await queries.usable_recipients(
        conn, recipients, seen_since=order.now - DEVICE_SILENT_MAX
    )
    without = len(recipients - usable)
    after = {"outcome": "done", "queued": told, "version": standing.version}
    await _record(conn, order, standing, role, after)
    return Told(len(recipients), told, without)


async def _record(
    conn: AsyncConnection[Any], order: Order, standing: Standing, role: str, after: dict[str, Any]
) -> None:
    entry = AuditEntry(
        at=order.now,
        action=ACTION,
        actor_id=order.actor_id,
        actor_role=role,
        organisation_id=standing.organisation.id,
        mentor_id=order.mentor_id,
        subject={"kind": order.kind},
        after=after,
        request_id=order.request_id,
    )
    await audit.record(conn, entry)
