"""Scenario prompts to test with: rules, activities and what became of them, by readable calls."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

if TYPE_CHECKING:
    from sagas.run import Organisation
    from tests.sagas.world import World

LONG_AGO = timedelta(days=400)


async def scenario(
    world: World,
    *organisations: Organisation,
    code: str = "first_talk",
    enabled_at: datetime | None = None,
    rule: dict[str, Any] | None = None,
    **parts: Any,
) -> UUID:
    """A rule, switched on in these organisations: three days after first contact by default."""
    form = rule or {"schema": 1, "anchor": "first_contact", "delay_days": 3, **parts}
    made: UUID = await world.value(
        "insert into followup_scenarios (code, name, rule) values (%s, %s, %s) returning id",
        *(code, code, json.dumps(form)),
    )
    for organisation in organisations:
        await world.conn.execute(
            "insert into scenario_settings (organisation_id, scenario_id, enabled, enabled_at)"
            " values (%s, %s, true, %s)",
            [organisation.id, made, enabled_at or world.now - LONG_AGO],
        )
    return made


async def happened(
    world: World,
    mentor: UUID,
    *,
    days_ago: float,
    kind: str = "first_contact",
    flags: Any = None,
    contact: UUID | None = None,
) -> UUID:
    """An activity of a mentor, so many days before the world's now."""
    made: UUID = await world.value(
        "insert into activities (mentor_id, kind, occurred_at, flags, contact_ref)"
        " values (%s, %s, %s, %s, %s) returning id",
        *(mentor, kind, world.now - timedelta(days=days_ago), json.dumps(flags or {}), contact),
    )
    return made


async def prompted(world: World, organisation: Organisation, address: str | None) -> UUID:
    """A mentor with one device (or none) and a first contact three days ago."""
    mentor = await world.mentor(organisation, device=False)
    if address is not None:
        await world.conn.execute(
            "insert into device_tokens (user_id, address, last_seen_at) values (%s, %s, %s)",
            [mentor, address, world.now],
        )
    await happened(world, mentor, days_ago=3, contact=uuid4())
    return mentor


async def history(world: World) -> dict[UUID, tuple[str, int, str | None]]:
    """Status, runs and error of each mentor's one prompt."""
    rows = await world.rows("select mentor_id, status, runs, error_class from prompt_history")
    assert len({row["mentor_id"] for row in rows}) == len(rows)
    return {row["mentor_id"]: (row["status"], row["runs"], row["error_class"]) for row in rows}
