"""Rules as people handle them: in words, previewed without a trace, on from a moment on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest

from sagas import scenarios
from sagas.coordinator import Forbidden
from sagas.prompt_rules import Activity, InvalidRule
from sagas.prompts import claim_due
from sagas.scenarios import UnknownScenario, preview
from tests.sagas.scenario_world import happened, history, scenario
from tests.sagas.test_prompt_rules import rule

if TYPE_CHECKING:
    from uuid import UUID

    from sagas.queries_prompts import Scenario
    from sagas.run import Organisation
    from tests.sagas.world import World

OSLO = ZoneInfo("Europe/Oslo")
NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
CONTACT = Activity("first_contact", datetime(2026, 3, 2, 12, tzinfo=UTC), {})


async def switch(
    world: World, organisation: Organisation, scenario_id: UUID, actor: UUID, *, enabled: bool
) -> Scenario:
    """Somebody switches a rule on or off at the world's now."""
    async with await psycopg.AsyncConnection.connect(world.dsn) as conn:
        return await scenarios.set_enabled(
            conn, organisation_id=organisation.id, scenario_id=scenario_id, enabled=enabled,
            actor_id=actor, now=world.now,
        )  # fmt: skip


def test_t3_7_a_preview_shows_what_a_run_would_do() -> None:
    """SCN-10: whether, when, to whom, the rendered prompt; before the rule is on anywhere."""
    mentor = uuid4()
    shown = preview(rule(), CONTACT, now=NOW, zone=OSLO, language="en", recipient_id=mentor)

    assert shown.as_json() == {
        "description": "Send 3 days after first contact",
        "sends": True,
        "sends_on": "2026-03-05",
        "due_on": "2026-03-05",
        "last_on": "2026-03-08",
        "reasons": [],
        "recipient_id": str(mentor),
        "title": "Time to follow up",
        "body": "One of your contacts is due a follow-up. Open the app for details.",
    }


@pytest.mark.parametrize(
    ("parts", "facts", "now", "sends_on", "reasons"),
    [
        ({}, {}, NOW - timedelta(days=1), date(2026, 3, 5), ["The day of the prompt has not come"]),
        ({}, {}, NOW + timedelta(days=2), date(2026, 3, 7), []),
        ({}, {}, NOW + timedelta(days=4), None, ["The day of the prompt passed"]),
        (
            {
                "conditions": [{"flag": "x", "is": True}],
                "unless": [{"event": "follow_up_registered"}],
            },
            {"followed_up": True, "kind": "contact"},
            NOW,
            None,
            ["The rule is about another", "The activity does not meet", "A follow-up has been"],
        ),
    ],
    ids=["too early", "made up for", "too late", "three reasons at once"],
)
def test_scn_10_a_preview_gives_every_reason(
    parts: dict[str, Any],
    facts: dict[str, Any],
    now: datetime,
    sends_on: date | None,
    reasons: list[str],
) -> None:
    """SCN-10: in sentences; what only has to wait is told with its day."""
    activity = replace(CONTACT, **facts)
    shown = preview(rule(**parts), activity, now=now, zone=OSLO, language="en")

    assert shown.sends_on == sends_on
    assert len(shown.reasons) == len(reasons)
    assert all(map(str.startswith, shown.reasons, reasons))


def test_scn_10_a_preview_of_a_rule_that_is_on_knows_since_when() -> None:
    shown = preview(
        rule(), CONTACT, now=NOW, zone=OSLO, language="nb",
        enabled_at=CONTACT.occurred_at + timedelta(hours=1),
    )  # fmt: skip
    assert shown.sends_on is None
    assert shown.reasons == ("Aktiviteten fant sted før regelen ble slått på.",)
    assert shown.title == "Tid for oppfølging"


async def test_scn_11_switching_on_makes_nothing_up(world: World) -> None:
    """SCN-11: from the moment it is on; off and on again begins anew, on twice does not."""
    hlf = await world.organisation()
    made, coordinator = await scenario(world), await world.coordinator(hlf)
    mentor = await world.mentor(hlf)
    await happened(world, mentor, days_ago=3)

    first = await switch(world, hlf, made, coordinator, enabled=True)
    async with world.transaction() as conn:
        assert (await claim_due(conn, hlf, world.run())).due == 0
    since = world.now
    await world.pass_days(1)
    again = await switch(world, hlf, made, coordinator, enabled=True)
    off = await switch(world, hlf, made, coordinator, enabled=False)
    anew = await switch(world, hlf, made, coordinator, enabled=True)

    assert (first.enabled_at, again.enabled_at, off.enabled_at) == (since, since, since)
    assert (off.enabled, anew.enabled, anew.enabled_at) == (False, True, world.now)
    assert await history(world) == {}
    rows = await world.rows("select action, actor_role, before, after from audit_log order by id")
    assert [(row["action"], row["before"], row["after"]) for row in rows] == [
        ("scenario.enable", {"enabled": False}, {"enabled": True}),
        ("scenario.enable", {"enabled": True}, {"enabled": True}),
        ("scenario.disable", {"enabled": True}, {"enabled": False}),
        ("scenario.enable", {"enabled": False}, {"enabled": True}),
    ]
    assert {row["actor_role"] for row in rows} == {"coordinator"}


async def test_only_those_who_follow_up_there_switch_rules(world: World) -> None:
    """AUD-1: a coordinator of another organisation and a mentor are refused, and audited."""
    hlf, nhf = await world.organisation("HLF"), await world.organisation("NHF")
    made = await scenario(world)
    stranger = await world.coordinator(nhf)
    await world.coordinator(hlf, role="peer_mentor", user=stranger)

    with pytest.raises(Forbidden, match="coordinator or administrator of the organisation"):
        await switch(world, hlf, made, stranger, enabled=True)
    with pytest.raises(UnknownScenario):
        await switch(world, hlf, uuid4(), stranger, enabled=True)

    assert await world.value("select count(*) from scenario_settings") == 0
    (row,) = await world.rows("select actor_role, after from audit_log")
    assert tuple(row.values()) == ("none", {"outcome": "refused"})


async def test_a_rule_without_a_valid_form_is_not_switched_on(world: World) -> None:
    """It is listed without words, never raw, and may be switched off."""
    hlf = await world.organisation()
    coordinator = await world.coordinator(hlf)
    made = await scenario(world, hlf, code="broken", rule={"schema": 7})
    good = await scenario(world)

    with pytest.raises(InvalidRule):
        await switch(world, hlf, made, coordinator, enabled=True)
    assert not (await switch(world, hlf, made, coordinator, enabled=False)).enabled
    async with world.transaction() as conn:
        found = await scenarios.listed(conn, hlf.id, language="nb")

    assert [(each.id, each.description, each.enabled) for each in found] == [
        (made, None, False), (good, "Send 3 dager etter første kontakt", False)
    ]  # fmt: skip


async def test_a_rule_is_defined_for_all_by_who_administers_all(world: World) -> None:
    """Defined again it keeps its id, so nothing is prompted about twice; audited."""
    hlf = await world.organisation()
    everywhere = await world.coordinator(hlf, role="hlf_admin")
    here = await world.coordinator(hlf, role="org_admin")

    async def define(actor: UUID, days: int) -> UUID:
        async with await psycopg.AsyncConnection.connect(world.dsn) as conn:
            return await scenarios.define(
                conn, code="talk", name="Talk", rule=rule(delay_days=days), actor_id=actor,
                now=world.now,
            )  # fmt: skip

    first, second = await define(everywhere, 3), await define(everywhere, 4)
    with pytest.raises(Forbidden, match="administrator of all organisations"):
        await define(here, 5)

    assert first == second
    assert await world.value("select rule -> 'delay_days' from followup_scenarios") == 4
    rows = await world.rows("select actor_role, before, after from audit_log order by id")
    assert [row["actor_role"] for row in rows] == ["hlf_admin", "hlf_admin", "none"]
    assert rows[0]["before"] is None
    assert rows[1]["before"] == rows[0]["after"]
    assert rows[1]["after"]["rule"] == rule(delay_days=4).as_json()
