"""The emergency switch, turned by administrators: an end, a reason, always on record (VIS-7)."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest

from sagas.coordinator import Forbidden
from sagas.scope import WIDE_FOR_MAX, Scope, SwitchRefused, scopes, turn
from tests.end_to_end.cli import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from sagas.run import Organisation
    from tests.sagas.world import World


async def switch(
    world: World, organisation: Organisation, actor: UUID, hours: float | None, why: str = "flood"
) -> list[Scope]:
    """Turn it on a connection of its own; how it stands afterwards."""
    until = None if hours is None else world.now + timedelta(hours=hours)
    async with await psycopg.AsyncConnection.connect(world.dsn) as conn:
        await turn(
            conn,
            organisation_id=organisation.id,
            actor_id=actor,
            until=until,
            reason=why,
            now=world.now,
        )
        return await scopes(conn, now=world.now)


async def audited(world: World) -> list[tuple[Any, ...]]:
    rows = await world.rows(
        "select actor_id, reason, coalesce(after ->> 'enabled', after ->> 'outcome') as what"
        " from audit_log where action = 'scope.switched' order by id"
    )
    return [tuple(row.values()) for row in rows]


async def test_an_administrator_widens_and_narrows(world: World) -> None:
    """Both positions; each turn with its reason is in the audit, once."""
    organisation = await world.organisation()
    admin = await world.coordinator(organisation, role="org_admin")

    (wide,) = await switch(world, organisation, admin, 24)
    (narrow,) = await switch(world, organisation, admin, None, "over")

    assert wide == Scope(
        "HLF", wide=True, expires_at=world.now + timedelta(hours=24), reason="flood"
    )
    assert not narrow.wide
    assert await audited(world) == [(admin, "flood", "true"), (admin, "over", "false")]


async def test_it_ends_by_itself(world: World) -> None:
    organisation = await world.organisation()
    admin = await world.coordinator(organisation, role="hlf_admin")
    await switch(world, organisation, admin, 1)

    async with world.transaction() as conn:
        (later,) = await scopes(conn, now=world.now + timedelta(hours=1))

    assert not later.wide


@pytest.mark.parametrize("role", ["coordinator", "chapter_admin", "peer_mentor", None])
async def test_nobody_widens_his_own_reach(world: World, role: str | None) -> None:
    """VIS-9: not a coordinator, not an administrator of another organisation; it is on record."""
    organisation, other = await world.organisation(), await world.organisation("NHF")
    actor = await world.coordinator(organisation, role=role) if role else uuid4()
    await world.coordinator(other, role="org_admin", user=actor)

    with pytest.raises(Forbidden):
        await switch(world, organisation, actor, 24)

    assert await world.value("select count(*) from feature_flags") == 0
    assert await audited(world) == [(actor, None, "refused")]


@pytest.mark.parametrize(
    ("hours", "why", "told"),
    [
        (0, "x", "within 7 days"),
        (-1, "x", "within 7 days"),
        (WIDE_FOR_MAX.days * 24 + 1, "x", r"an end at \d{4}-.+ cannot be; give one within 7 days"),
        (1, " ", "say why"),
    ],
)
async def test_it_needs_an_end_within_a_week_and_a_reason(
    world: World, hours: float, why: str, told: str
) -> None:
    """A refusal tells what was given and what would be taken."""
    organisation = await world.organisation()
    admin = await world.coordinator(organisation, role="org_admin")

    with pytest.raises(SwitchRefused, match=told):
        await switch(world, organisation, admin, hours, why)

    assert await audited(world) == []


async def test_the_command_turns_it_and_shows_it(world: World, tmp_path: Path) -> None:
    organisation = await world.organisation()
    admin = await world.coordinator(organisation, role="org_admin")
    env = {"PATH": os.environ["PATH"], "OUTBOX_APP": "sagas.app:app", "DATABASE_URL": world.dsn}
    terminal = Terminal(tmp_path, env)
    given = ("--actor", admin, "--why", "flood")

    ran = [
        await terminal.run("scope", "widen", "HLF", *given, "--hours", "2"),
        await terminal.run("scope", "show"),
        await terminal.run("scope", "narrow", "HLF", *given),
        await terminal.run("scope", "show"),
        await terminal.run("scope", "widen", "HLF", "--actor", uuid4(), "--why", "x"),
        await terminal.run("scope", "widen", "XYZ", *given),
    ]

    assert [one.code for one in ran] == [0, 0, 0, 0, 1, 2]
    assert "in a read-only transaction" in ran[0].out
    assert "EVERY MENTOR until" in ran[1].out
    assert ran[3].out.strip() == "HLF: own chapters"
