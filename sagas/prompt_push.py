"""The prompt that the app's first version orders itself for one mentor (DSP-9, SCN-1).

The server judges: what is due of that rule for that mentor is claimed as a run claims it, once per
activity, and nothing else is sent. The address must be the mentor's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from sagas import audit, prompts, queries_access
from sagas.audit import AuditEntry
from sagas.coordinator import Forbidden, UnknownMentor
from sagas.run import RunContext
from sagas.status_push import SELF

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from sagas.prompts import Found

ACTION: Final = "prompt.ordered"


class NotEnabled(ValueError):
    """The rule is not on in the mentor's organisation. Nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Who is to be prompted by which rule, and on which device."""

    mentor_id: UUID
    scenario_id: UUID
    address: str
    actor_id: UUID
    now: datetime
    request_id: str | None = None


async def send(conn: AsyncConnection[Any], order: Order) -> Found:
    """Claim what is due of the rule for the mentor and ask for each prompt.

    Raises `UnknownMentor`, `NotEnabled`, or `Forbidden` after the refusal was audited.
    """
    async with conn.transaction():
        standing = await queries_access.standing_of_mentor(conn, order.mentor_id)
        if standing is None:
            raise UnknownMentor(order.mentor_id)
        role: str | None = SELF
        if order.actor_id != order.mentor_id:
            role = await queries_access.actor_role(
                conn, actor_id=order.actor_id, mentor_id=order.mentor_id
            )
        owners = await queries_access.owners_of_addresses(conn, [order.address])
        if role is not None and owners.get(order.address) == order.mentor_id:
            run = RunContext(run_id=uuid4(), now=order.now)
            found = await prompts.claim_for_mentor(
                conn, standing.organisation, order.scenario_id, order.mentor_id, run
            )
            if found is None:
                raise NotEnabled
            after = {"outcome": "done", "claimed": found.claimed, "retried": found.retried}
            await audit.record(conn, _entry(order, standing.organisation.id, role, after))
            return found
        refused = {"outcome": "refused"}
        await audit.record(conn, _entry(order, standing.organisation.id, audit.NO_ROLE, refused))
    raise Forbidden(what=f"{ACTION} for mentor {order.mentor_id}")


def _entry(order: Order, organisation_id: UUID, role: str, after: dict[str, Any]) -> AuditEntry:
    return AuditEntry(
        at=order.now,
        action=ACTION,
        actor_id=order.actor_id,
        actor_role=role,
        organisation_id=organisation_id,
        mentor_id=order.mentor_id,
        subject={"scenario_id": str(order.scenario_id)},
        after=after,
        request_id=order.request_id,
    )
