"""The statements of what an organisation configures: policies and feature flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row

from handlers.texts import Audience
from sagas.policy import PER_ORG_THRESHOLDS, SETTINGS
from sagas.statements import statement

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from sagas.policy import Policy


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """One audience of an organisation: its own settings as stored, or None, judged by nobody yet.

    `overrides`: the flag lets them take effect. `alerted`: an alert says that they are not valid.
    """

    own: Mapping[str, Any] | None
    overrides: bool
    alerted: bool


async def policy_rows(
    conn: AsyncConnection[Any], organisation_id: UUID, *, now: datetime
) -> dict[Audience, PolicyRow]:
    """What an organisation configured, for every audience."""
    params = {"organisation_id": organisation_id, "flag": PER_ORG_THRESHOLDS, "now": now}
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement("policy_rows"), params)
        return {
            Audience(row["audience"]): PolicyRow(
                own={name: row[name] for name in SETTINGS} if row["owned"] else None,
                overrides=row["overrides"],
                alerted=row["alerted"],
            )
            for row in await cursor.fetchall()
        }


async def lock_configuration(conn: AsyncConnection[Any], organisation_id: UUID) -> str | None:
    """Be the only one who changes this organisation's settings; its code, None: there is none."""
    params = {"organisation_id": organisation_id}
    row = await (await conn.execute(statement("lock_configuration"), params)).fetchone()
    return None if row is None else str(row[0])


async def put_policy(
    conn: AsyncConnection[Any],
    organisation_id: UUID,
    policy: Policy,
    *,
    actor_id: UUID,
    now: datetime,
) -> None:
    """Write one audience's policy."""
    params = {
        "organisation_id": organisation_id,
        "audience": policy.audience.value,
        "actor_id": actor_id,
        "now": now,
        **policy.as_json(),
    }
    await conn.execute(statement("put_policy"), params)


async def put_flag(  # noqa: PLR0913 - the columns of one row
    conn: AsyncConnection[Any],
    organisation_id: UUID,
    flag: str,
    *,
    enabled: bool,
    reason: str | None,
    actor_id: UUID,
    now: datetime,
) -> bool:
    """Switch a feature on or off for good; whether it was on."""
    params = {
        "organisation_id": organisation_id,
        "flag": flag,
        "enabled": enabled,
        "reason": reason,
        "actor_id": actor_id,
        "now": now,
    }
    row = await (await conn.execute(statement("put_flag"), params)).fetchone()
    return bool(row and row[0])
