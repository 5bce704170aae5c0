"""Reminder settings over HTTP: staff read, administrators change, nobody else finds them (CFG)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

if TYPE_CHECKING:
    from tests.http.front import Front


async def staff(front: Front) -> tuple[str, UUID, UUID]:
    """The path of an organisation's settings, its administrator and a coordinator."""
    world = front.scene.world
    organisation = await world.organisation()
    admin = await world.coordinator(organisation, role="org_admin")
    coordinator = await world.coordinator(organisation, await world.chapter(organisation))
    return f"/organisations/{organisation.id}/policies/mentor", admin, coordinator


async def test_an_administrator_changes_what_a_coordinator_reads(front: Front) -> None:
    """CFG-1, CFG-3: kept and audited; in force only where the flag lets it be."""
    path, admin, coordinator = await staff(front)

    changed = await front.ask("PUT", path, admin, json={"thresholds": [45, 10]})
    read = await front.ask("GET", path, coordinator)

    assert (changed.status_code, read.status_code) == (200, 200)
    assert changed.json() == read.json()
    assert read.json()["own"]["thresholds"] == [45, 10]
    assert read.json()["in_force"]["thresholds"] == [60, 30, 7]
    assert not read.json()["overrides"]
    rows = await front.scene.world.rows("select actor_id, actor_role, action from audit_log")
    assert [tuple(row.values()) for row in rows] == [(admin, "org_admin", "policy.set")]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"thresholds": [7, 30]}, "policy_not_valid"),
        ({"per_run_date_tiers": ["14"]}, "policy_not_valid"),
        ({"thresholds": [366]}, "not_valid"),
        ({"guard_hours": 169}, "not_valid"),
        ({"cadence": "hourly"}, "not_valid"),
        ({"thresholds": "60"}, "not_valid"),
        ({"marker": 1}, "not_valid"),
    ],
)
async def test_settings_no_run_could_follow_are_refused(
    front: Front, body: dict[str, Any], code: str
) -> None:
    """CFG-5: on write, by the rule they break."""
    path, admin, _ = await staff(front)

    answer = await front.ask("PUT", path, admin, json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert await front.scene.world.value("select count(*) from notification_policies") == 0


async def test_who_may_not_changes_nothing(front: Front) -> None:
    """VIS-9: a coordinator is refused, a stranger finds nothing; both are on record."""
    path, _, coordinator = await staff(front)
    stranger = await front.scene.world.coordinator(
        await front.scene.world.organisation("NHF"), role="hlf_admin"
    )

    answers = [
        await front.ask("PUT", path, user, json={"lapsed": False})
        for user in (coordinator, stranger, uuid4())
    ]
    answers.append(await front.ask("GET", path, stranger))
    answers.append(
        await front.ask("PUT", f"/organisations/{uuid4()}/policies/mentor", stranger, json={})
    )

    assert [answer.status_code for answer in answers] == [403, 404, 404, 404, 404]
    assert await front.scene.world.value("select count(*) from notification_policies") == 0
    refused = "select count(*) from audit_log where after ->> 'outcome' = 'refused'"
    assert await front.scene.world.value(refused) == 3
