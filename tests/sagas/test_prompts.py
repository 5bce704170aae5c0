"""Claiming prompts on the database: what is due, once, and whatever else is wrong, the rest."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from structlog.testing import capture_logs

from sagas.prompts import Found, claim_due, result_of
from sagas.results import DispatchSummary
from tests.sagas.scenario_world import happened, history, prompted, scenario

if TYPE_CHECKING:
    from uuid import UUID

    from sagas.run import Organisation
    from tests.sagas.world import World


async def claim(world: World, organisation: Organisation, **changes: object) -> Found:
    """One look at one organisation, committed."""
    async with world.transaction() as conn:
        return await claim_due(conn, organisation, world.run(**changes))


async def claimed_of(world: World) -> set[UUID]:
    """The activities prompted about."""
    rows = await world.rows("select activity_ref from prompt_history")
    return {row["activity_ref"] for row in rows}


async def test_scn_1_what_is_due_is_claimed_and_asked_for_once(world: World) -> None:
    """SCN-1, DED-9: history, group, item and message stand or fall together; again is nothing."""
    hlf, nhf = await world.organisation("HLF"), await world.organisation("NHF")
    rule = await scenario(world, hlf)
    mentors = [await prompted(world, hlf, None) for _ in range(5)]
    await prompted(world, nhf, None)  # the rule is not on there

    first = await claim(world, hlf, page_size=2)
    again = await claim(world, hlf)

    assert first == Found(due=5, claimed=5)
    assert again == Found(due=5, skipped=5)
    assert await claim(world, nhf) == Found()
    rows = await world.rows(
        "select told.user_id, told.mentor_id, told.status, told.due_on, told.claimed_at, told.runs,"
        " opened.id, opened.recipient_id, opened.kind as group_kind, opened.status as pushed,"
        " item.kind, item.scenario_id, item.prompt_id = told.id as linked, item.position"
        " from prompt_history as told"
        " join notification_groups as opened on opened.id = told.group_id"
        " join notification_items as item on item.group_id = opened.id"
    )
    assert {row["mentor_id"] for row in rows} == set(mentors)
    assert len(rows) == 5
    for row in rows:
        assert row["user_id"] == row["mentor_id"] == row["recipient_id"]
        assert (row["status"], row["pushed"], row["runs"]) == ("claimed", "queued", 1)
        assert (row["due_on"], row["claimed_at"]) == (world.day(hlf, 0), world.now)
        assert row["group_kind"] == row["kind"] == "scenario_prompt"
        assert (row["scenario_id"], row["linked"], row["position"]) == (rule, True, 0)
    assert sorted(await world.requested()) == sorted(row["id"] for row in rows)


async def test_scn_11_days_enabling_and_people_decide(world: World) -> None:
    """SCN-11: due days and three more, not what was before, nobody who has left."""
    hlf = await world.organisation()
    await scenario(world, hlf, enabled_at=world.now - timedelta(days=5))
    mentor = await world.mentor(hlf)
    for days_ago in (2, 7):  # too early, too late
        await happened(world, mentor, days_ago=days_ago)
    await happened(world, mentor, days_ago=5.5)  # in time, but before it was switched on
    left = await world.mentor(hlf, status="inactive")
    await happened(world, left, days_ago=3)
    due = {
        str(await happened(world, mentor, days_ago=3)),
        str(await happened(world, mentor, days_ago=4.9)),
        str(await happened(world, await world.mentor(hlf, status="paused"), days_ago=3)),
    }

    assert (await claim(world, hlf)).claimed == 3
    assert await claimed_of(world) == due


async def test_scn_7_conditions_and_unless_are_asked_of_the_same_contact(world: World) -> None:
    """SCN-7: a follow-up with somebody else silences nothing; flags decide per activity."""
    hlf = await world.organisation()
    await scenario(
        world, hlf,
        conditions=[{"flag": "wellbeing_concern", "is": True}],
        unless=[{"event": "follow_up_registered"}],
    )  # fmt: skip
    mentor, followed, other = await world.mentor(hlf), uuid4(), uuid4()
    concern = {"wellbeing_concern": True}
    await happened(world, mentor, days_ago=3, flags=concern, contact=followed)
    await happened(world, mentor, days_ago=1, kind="follow_up_registered", contact=followed)
    await happened(world, mentor, days_ago=3, contact=uuid4())
    await happened(world, mentor, days_ago=3, flags=["wellbeing_concern"], contact=uuid4())
    due = await happened(world, mentor, days_ago=3, flags=concern, contact=other)
    await happened(world, mentor, days_ago=4, kind="follow_up_registered", contact=other)

    assert (await claim(world, hlf)).claimed == 1
    assert await claimed_of(world) == {str(due)}


async def test_scn_7_the_last_contact_is_the_last_with_that_person(world: World) -> None:
    """SCN-7: a later one takes its place; contacts the app does not tell apart are one."""
    hlf = await world.organisation()
    await scenario(world, hlf, anchor="last_contact")
    mentor, untold, person = await world.mentor(hlf), await world.mentor(hlf), uuid4()
    await happened(world, mentor, days_ago=4, contact=person)
    due = await happened(world, mentor, days_ago=3, kind="contact", contact=person)
    await happened(world, mentor, days_ago=1, kind="contact", contact=uuid4())
    await happened(world, untold, days_ago=3)
    await happened(world, untold, days_ago=1, kind="contact")

    assert (await claim(world, hlf)).claimed == 1
    assert await claimed_of(world) == {str(due)}


async def test_a_rule_nobody_understands_leaves_the_others(world: World) -> None:
    """SCN-7: it is named by its code; what it holds is not quoted."""
    hlf = await world.organisation()
    await scenario(world, hlf, code="broken", rule={"schema": 1, "anchor": "secret words"})
    await scenario(world, hlf)
    await prompted(world, hlf, None)

    with capture_logs() as logs:
        found = await claim(world, hlf)

    assert found == Found(due=1, claimed=1, unusable=("broken",))
    (refused,) = [line for line in logs if line["event"] == "scenario.refused"]
    assert (refused["scenario"], refused["organisation"]) == ("broken", "HLF")
    assert "secret" not in str(logs)


async def test_one_prompt_that_cannot_be_claimed_leaves_the_others(world: World) -> None:
    """SCN-3: claimed one by one where the bulk fails; nothing of the refused one is left."""
    hlf = await world.organisation()
    await scenario(world, hlf)
    mentors = [await prompted(world, hlf, None) for _ in range(3)]
    await world.conn.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin"
        f" if new.user_id = '{mentors[1]}' then raise exception 'secret detail'; end if;"
        " return new; end $$;"
        "create trigger refuse before insert on prompt_history"
        " for each row execute function refuse()"
    )

    with capture_logs() as logs:
        found = await claim(world, hlf)

    assert found == Found(due=3, claimed=2, refused=1)
    (failed,) = [line for line in logs if line["event"] == "prompt.record_failed"]
    assert (failed["mentor_id"], failed["sqlstate"]) == (str(mentors[1]), "P0001")
    assert "secret" not in str(logs)
    assert set(await history(world)) == {mentors[0], mentors[2]}
    assert await world.value("select count(*) from notification_groups") == 2
    assert len(await world.requested()) == 2


async def test_t3_6_overlapping_runs_claim_each_prompt_once(world: World) -> None:
    """T3.6, SCN-6, DED-9: the second waits for the first's commit and then finds its history."""
    hlf = await world.organisation()
    await scenario(world, hlf)
    mentors = {await prompted(world, hlf, None) for _ in range(3)}
    async with world.transaction() as first:
        ours = await claim_due(first, hlf, world.run())
        overlapping = asyncio.create_task(claim(world, hlf))
        async with asyncio.timeout(30):
            while not await world.value(  # noqa: ASYNC110 - the server tells nobody that one waits
                "select count(*) from pg_stat_activity"
                " where datname = current_database() and wait_event_type = 'Lock'"
            ):
                await asyncio.sleep(0)
    theirs = await overlapping

    assert ours == Found(due=3, claimed=3)
    assert theirs == Found(due=3, skipped=3)
    assert set(await history(world)) == mentors
    assert len(await world.requested()) == 3


def test_scn_5_the_summary_counts_how_prompts_ended() -> None:
    """SCN-5: (dispatched, failed, skipped) from the history; what waits is neither."""
    found = Found(due=9, claimed=6, retried=1, skipped=1, refused=1)
    ended = {"dispatched": 3, "failed": 1, "skipped": 2, "claimed": 1}

    result = result_of(found, ended)

    assert (result.summary, result.waiting) == (DispatchSummary(3, 2, 3), 1)
    assert result.as_json()["successCount"] == 3
    assert result_of(Found(), {}).summary == DispatchSummary(0, 0, 0)
