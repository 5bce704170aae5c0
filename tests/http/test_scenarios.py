"""Scenario rules over HTTP: read in words, switched by staff, previewed without a trace (SCN)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from tests.http.front import AUDIT

if TYPE_CHECKING:
    from tests.http.front import Front

RULE: dict[str, Any] = {
    "schema": 1,
    "anchor": "first_contact",
    "delay_days": 3,
    "conditions": [{"flag": "wellbeing_concern", "is": True}],
}
SENTENCE = "Send 3 days after first contact if wellbeing concern was flagged"


async def scene(front: Front) -> tuple[UUID, UUID, UUID, UUID]:
    """An organisation, a mentor of it with a coordinator, and a rule that is on nowhere."""
    world = front.scene.world
    organisation = await world.organisation()
    mentor, coordinator = await front.scene.followed_mentor(organisation, days=100)
    scenario: UUID = await world.value(
        "insert into followup_scenarios (code, name, rule) values ('wellbeing', 'W', %s)"
        " returning id",
        Jsonb(RULE),
    )
    return organisation.id, mentor, coordinator, scenario


async def test_t3_7_rules_are_read_as_sentences(front: Front) -> None:
    """SCN-8: no code word, no JSON; to whom works for nobody there are none."""
    organisation, mentor, coordinator, scenario = await scene(front)

    listed = await front.ask("GET", "/scenarios?language=en", coordinator)
    nobody = await front.ask("GET", "/scenarios", mentor)

    assert listed.json()["items"] == [
        {
            "id": str(scenario),
            "organisation_id": str(organisation),
            "code": "wellbeing",
            "name": "W",
            "description": SENTENCE,
            "enabled": False,
            "enabled_at": None,
        }
    ]
    assert nobody.json()["items"] == []


async def test_staff_switch_a_rule_and_nobody_else(front: Front) -> None:
    organisation, mentor, coordinator, scenario = await scene(front)
    path, body = f"/scenarios/{scenario}/enabled", {"organisation_id": str(organisation)}

    on = await front.ask("PUT", path, coordinator, json={**body, "enabled": True})
    foreign = await front.ask("PUT", path, mentor, json={**body, "enabled": False})
    unknown = await front.ask(
        "PUT", f"/scenarios/{uuid4()}/enabled", coordinator, json={**body, "enabled": True}
    )

    assert (on.status_code, on.json()["enabled"]) == (200, True)
    assert (foreign.status_code, unknown.status_code) == (404, 404)
    assert await front.scene.world.value("select bool_and(enabled) from scenario_settings")


async def test_t3_7_a_preview_leaves_no_trace(front: Front) -> None:
    """SCN-10: with reasons, and not a row is touched; a rule without its form is refused."""
    _, mentor, coordinator, _ = await scene(front)
    trial = {
        "rule": RULE,
        "activity": {"kind": "first_contact", "occurred_at": "2026-03-01T12:00:00Z"},
        "mentor_id": str(mentor),
    }
    before = await front.tables()

    shown = await front.ask("POST", "/scenarios/preview?language=en", coordinator, json=trial)
    flagged = {**trial, "activity": {**trial["activity"], "flags": {"wellbeing_concern": True}}}  # type: ignore[dict-item] # one of the three is a dict
    sent = await front.ask("POST", "/scenarios/preview?language=en", coordinator, json=flagged)
    wrong = await front.ask(
        "POST", "/scenarios/preview", coordinator, json={**trial, "rule": {"schema": 2}}
    )
    outside = await front.ask("POST", "/scenarios/preview", uuid4(), json=trial)

    assert (shown.json()["description"], shown.json()["sends"]) == (SENTENCE, False)
    assert (sent.json()["sends_on"], sent.json()["recipient_id"]) == ("2026-03-04", str(mentor))
    assert (wrong.status_code, outside.status_code) == (422, 403)
    assert await front.tables() == before


async def test_t3_5_the_app_orders_a_prompt_and_the_server_judges(front: Front) -> None:
    """DSP-9, DED-9: to the mentor's own device, what is due, once."""
    organisation, mentor, coordinator, scenario = await scene(front)
    world = front.scene.world
    await front.ask(
        "PUT", f"/scenarios/{scenario}/enabled", coordinator,
        json={"organisation_id": str(organisation), "enabled": True},
    )  # fmt: skip
    await world.conn.execute(
        "insert into activities (mentor_id, kind, occurred_at, flags) values"
        " (%s, 'first_contact', %s, '{\"wellbeing_concern\": true}')",
        [mentor, world.now],
    )
    address = await world.value("select address from device_tokens where user_id = %s", mentor)
    order = {
        "peer_mentor_id": str(mentor), "scenario_id": str(scenario), "device_token": address,
    }  # fmt: skip
    path = "/functions/v1/dispatch-scenario-prompt"

    early = await front.ask("POST", path, mentor, json=order)
    await front.scene.pass_time(days=3)
    first = await front.ask("POST", path, mentor, json=order)
    again = await front.ask("POST", path, coordinator, json=order)
    await front.scene.drain()

    assert [one.status_code for one in (early, first, again)] == [202, 202, 202]
    assert [one.json()["queuedCount"] for one in (early, first, again)] == [0, 1, 0]
    assert await world.value("select status from prompt_history") == "dispatched"
    (sent,) = front.scene.fcm.deliveries
    assert sent.address == address


async def test_a_prompt_goes_to_nobodys_device_but_the_mentors(front: Front) -> None:
    """DSP-9: not to the coordinator's, not by a stranger's word; a rule that is off says so."""
    _, mentor, coordinator, scenario = await scene(front)
    world = front.scene.world
    mine, theirs = [
        await world.value("select address from device_tokens where user_id = %s", user)
        for user in (mentor, coordinator)
    ]
    before = await front.tables(AUDIT)

    async def ordered(user: UUID, address: str) -> int:
        order = {
            "peer_mentor_id": str(mentor), "scenario_id": str(scenario), "device_token": address,
        }  # fmt: skip
        return (
            await front.ask("POST", "/functions/v1/dispatch-scenario-prompt", user, json=order)
        ).status_code

    assert [
        await ordered(mentor, theirs), await ordered(coordinator, theirs),
        await ordered(uuid4(), mine), await ordered(mentor, mine),
    ] == [403, 403, 404, 409]  # fmt: skip
    assert await front.tables(AUDIT) == before
