"""The policies an organisation runs on tonight, read from its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from handlers.commands import AlertOpen
from outbox import apublish
from sagas import queries
from sagas.policy import Audience, effective

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg import AsyncConnection

    from sagas.policy import Policy
    from sagas.run import Organisation, RunContext

log = structlog.get_logger("sagas")


async def in_force(
    conn: AsyncConnection[Any], organisation: Organisation, run: RunContext
) -> Mapping[Audience, Policy]:
    """The policy in force for each audience; an invalid one means defaults and an alert."""
    rows = await queries.notification_policies(conn, organisation.id, now=run.now)
    policies: dict[Audience, Policy] = {}
    for audience in Audience:
        row = rows.get(audience)
        found = effective(audience, row, overrides=bool(row and row["overrides"]))
        policies[audience] = found.policy
        if found.refused is not None:
            log.error(
                "policy.refused",
                organisation=organisation.code,
                audience=audience.value,
                rule=found.refused.rule,
            )
            alert = AlertOpen(
                type="invalid_policy",
                organisation_id=organisation.id,
                mentor_id=None,
                subject=audience.value,
                severity="warning",
            )
            await apublish(conn, alert)
    return policies
