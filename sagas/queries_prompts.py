"""The statements of scenario prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from sagas import columns
from sagas.prompt_rules import CONTACTS, KINDS, RUNS_MAX
from sagas.statements import statement

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import date, datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from sagas.prompt_rules import Rule
    from sagas.run import RunContext


@dataclass(frozen=True, slots=True)
class EnabledScenario:
    """A rule in force for an organisation, as stored: nobody has judged its form yet."""

    id: UUID
    code: str
    rule: Any
    enabled_at: datetime


@dataclass(frozen=True, slots=True)
class Scenario:
    """A rule and how it stands in one organisation; `enabled_at`: when it was last switched on."""

    id: UUID
    code: str
    name: str
    rule: Any
    enabled: bool
    enabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An activity in a rule's reach; with `prompt_id` it was prompted for before."""

    activity_id: UUID
    mentor_id: UUID
    kind: str
    occurred_at: datetime
    flags: Mapping[str, Any]
    followed_up: bool
    overtaken: bool
    mentor_status: str
    prompt_id: UUID | None
    prompt_status: str | None


@dataclass(frozen=True, slots=True)
class DuePrompt:
    """A prompt to claim: together with the scenario, the key of DED-9."""

    mentor_id: UUID
    activity_id: UUID
    due_on: date


async def enabled_scenarios(
    conn: AsyncConnection[Any], organisation_id: UUID
) -> list[EnabledScenario]:
    """The rules an organisation has switched on, by code."""
    async with conn.cursor(row_factory=class_row(EnabledScenario)) as cursor:
        await cursor.execute(statement("enabled_scenarios"), {"organisation_id": organisation_id})
        return await cursor.fetchall()


async def due_activities(  # noqa: PLR0913 - whose, which rule, which days, which page
    conn: AsyncConnection[Any],
    organisation_id: UUID,
    scenario_id: UUID,
    rule: Rule,
    *,
    between: tuple[datetime, datetime],
    after: tuple[UUID, UUID],
    run: RunContext,
) -> list[Candidate]:
    """One page of activities in the reach of `rule`, in the order of mentor and activity."""
    params = {
        "organisation_id": organisation_id,
        "scenario_id": scenario_id,
        "kinds": list(KINDS[rule.anchor]),
        "contacts": list(CONTACTS),
        "first": between[0],
        "last": between[1],
        "after_mentor": after[0],
        "after_activity": after[1],
        "limit": run.page_size,
        "now": run.now,
    }
    async with conn.cursor(row_factory=class_row(Candidate)) as cursor:
        await cursor.execute(statement("due_activities"), params)
        return await cursor.fetchall()


async def claim_prompts(
    conn: AsyncConnection[Any],
    organisation_id: UUID,
    scenario_id: UUID,
    due: Sequence[DuePrompt],
    *,
    run: RunContext,
) -> list[UUID]:
    """Claim prompts; the groups of those that are ours."""
    params = {
        "organisation_id": organisation_id,
        "scenario_id": scenario_id,
        "mentor_ids": columns.uuids(each.mentor_id for each in due),
        "activity_ids": columns.uuids(each.activity_id for each in due),
        "due_ons": columns.dates(each.due_on for each in due),
        "run_id": run.run_id,
        "now": run.now,
    }
    cursor = await conn.execute(statement("claim_prompts"), params)
    return [group_id async for (group_id,) in cursor]


async def retry_prompts(
    conn: AsyncConnection[Any],
    prompt_ids: Collection[UUID],
    *,
    permanent: Collection[str],
    run: RunContext,
) -> list[UUID]:
    """Queue failed prompts again that may be cured; the groups to push once more."""
    params = {
        "prompt_ids": columns.uuids(prompt_ids),
        "permanent": list(permanent),
        "runs_max": RUNS_MAX,
        "run_id": run.run_id,
    }
    cursor = await conn.execute(statement("retry_prompts"), params)
    return [group_id async for (group_id,) in cursor]


async def prompt_outcomes(conn: AsyncConnection[Any], *, run_id: UUID) -> dict[str, int]:
    """How many prompts of a run are dispatched, failed, skipped or still claimed."""
    cursor = await conn.execute(statement("prompt_outcomes"), {"run_id": run_id})
    return {ended: int(count) async for ended, count in cursor}


async def list_scenarios(
    conn: AsyncConnection[Any], organisation_id: UUID, *, code: str | None = None
) -> list[Scenario]:
    """Every rule there is, by code, and how it stands in the organisation."""
    params = {"organisation_id": organisation_id, "code": code}
    async with conn.cursor(row_factory=class_row(Scenario)) as cursor:
        await cursor.execute(statement("list_scenarios"), params)
        return await cursor.fetchall()


async def lock_scenario(
    conn: AsyncConnection[Any], organisation_id: UUID, scenario_id: UUID
) -> Scenario | None:
    """One rule as it stands in the organisation, edited by nobody meanwhile; None: no such rule."""
    params = {"organisation_id": organisation_id, "scenario_id": scenario_id}
    async with conn.cursor(row_factory=class_row(Scenario)) as cursor:
        await cursor.execute(statement("lock_scenario"), params)
        return await cursor.fetchone()


async def put_scenario_setting(  # noqa: PLR0913 - the columns of one row
    conn: AsyncConnection[Any],
    organisation_id: UUID,
    scenario_id: UUID,
    *,
    enabled: bool,
    actor_id: UUID,
    now: datetime,
) -> datetime | None:
    """Switch a rule on or off for an organisation; since when it is on, or was last."""
    params = {
        "organisation_id": organisation_id,
        "scenario_id": scenario_id,
        "enabled": enabled,
        "actor_id": actor_id,
        "now": now,
    }
    row = await (await conn.execute(statement("put_scenario_setting"), params)).fetchone()
    assert row is not None, "an upsert returns its row"
    at: datetime | None = row[0]
    return at


async def put_scenario(
    conn: AsyncConnection[Any], *, code: str, name: str, rule: Rule, now: datetime
) -> tuple[UUID, Mapping[str, Any] | None]:
    """Write a rule under its code; its id, and name and rule as they were, if it was there."""
    params = {"code": code, "name": name, "rule": Jsonb(rule.as_json()), "now": now}
    row = await (await conn.execute(statement("put_scenario"), params)).fetchone()
    assert row is not None, "an upsert returns its row"
    before = None if row[1] is None else {"name": row[1], "rule": row[2]}
    return row[0], before
