"""Prompts from activity to device: each ends on its own, and the history tells how."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs

from sagas import jobs
from sagas.results import ALREADY_RUNNING, COMPLETED
from sagas.wiring import job_parts
from tests.sagas.scenario_world import happened, history, prompted, scenario

if TYPE_CHECKING:
    from sagas.jobs import JobRun
    from tests.end_to_end.scene import Scene

FAILING_SAVES = """
create sequence saves;
create function refuse() returns trigger language plpgsql as $$
begin
    if nextval('saves') <= tg_argv[0]::bigint then
        raise exception 'the history cannot be written' using errcode = 'disk_full';
    end if;
    return new;
end $$;
create trigger refuse before update on prompt_history
for each row when (new.status = 'dispatched') execute function refuse({times});
"""
"""A sequence counts what is rolled back too."""


async def run(scene: Scene) -> JobRun:
    """One run of the job at this instant."""
    parts = job_parts(scene.stage.app, scene.stage.dsn, lambda _stage, _facts: None)
    return await jobs.run("prompts", parts)


def counts(done: JobRun) -> tuple[int, int, int]:
    """The summary: dispatched, failed, skipped."""
    summary: Any = done.summary
    return summary["successCount"], summary["failureCount"], summary["skippedCount"]


async def test_t3_1_three_prompts_are_sent_and_saved(scene: Scene) -> None:
    """T3.1, SCN-4, PUSH-4: three sends, three rows, (3,0,0); a push carries ids and no address."""
    hlf = await scene.world.organisation()
    rule = await scenario(scene.world, hlf)
    mentors = [await prompted(scene.world, hlf, f"ok-{number}") for number in range(3)]

    done = await run(scene)

    assert (done.outcome, counts(done)) == (COMPLETED, (3, 0, 0))
    assert scene.fcm.sends == len(scene.fcm.deliveries) == 3
    assert await history(scene.world) == dict.fromkeys(mentors, ("dispatched", 1, None))
    for sent in scene.fcm.deliveries:
        data = sent.payload["data"]
        assert data["kind"] == "scenario_prompt"
        assert data["peer_mentor_id"] in {str(mentor) for mentor in mentors}
        assert data["scenario_id"] == str(rule)
        assert data["deep_link"] == f"peermentor://app/v1/prompts/{data['prompt_id']}?ctx=scenario"
        assert sent.address not in str(data)


async def test_t3_2_the_second_fails_and_is_saved_as_failed(scene: Scene) -> None:
    """T3.2, SCN-3: its neighbours are sent and saved all the same, (2,1,0)."""
    hlf = await scene.world.organisation()
    await scenario(scene.world, hlf)
    addresses = ("ok-1", "unreg-2", "ok-3")
    mentors = [await prompted(scene.world, hlf, address) for address in addresses]

    done = await run(scene)

    assert (done.outcome, counts(done)) == (COMPLETED, (2, 1, 0))
    assert scene.fcm.sends == 3
    found = await history(scene.world)
    assert [found[mentor] for mentor in mentors] == [
        ("dispatched", 1, None), ("failed", 1, "address_unregistered"), ("dispatched", 1, None)
    ]  # fmt: skip


async def test_t3_3_nothing_due_sends_and_saves_nothing(scene: Scene) -> None:
    """T3.3, SCN-5: (0,0,0), no call and no row, with a rule that is on."""
    hlf = await scene.world.organisation()
    await scenario(scene.world, hlf)
    await happened(scene.world, await scene.world.mentor(hlf), days_ago=1)

    done = await run(scene)

    assert (done.outcome, counts(done)) == (COMPLETED, (0, 0, 0))
    assert scene.fcm.sends == 0
    assert await history(scene.world) == {}
    assert await scene.world.value("select count(*) from outbox.message") == 0


async def test_t3_4_a_save_that_raises_is_logged_and_repeated_without_the_push(
    scene: Scene,
) -> None:
    """T3.4, SCN-3: sends went well, two saves raise: logged, nothing raised, (3,0,0)."""
    hlf = await scene.world.organisation()
    await scenario(scene.world, hlf)
    mentors = [await prompted(scene.world, hlf, f"ok-{number}") for number in range(3)]
    await scene.world.conn.execute(FAILING_SAVES.format(times=2).encode())

    with capture_logs() as logs:
        done = await run(scene)

    failed = [line for line in logs if line["event"] == "delivery.settlement_failed"]
    assert failed
    assert {(line["log_level"], line["sqlstate"]) for line in failed} == {("error", "53100")}
    assert (done.outcome, counts(done)) == (COMPLETED, (3, 0, 0))
    assert scene.fcm.sends == len(scene.fcm.deliveries) == 3
    assert await history(scene.world) == dict.fromkeys(mentors, ("dispatched", 1, None))


async def test_t3_4_a_history_that_stays_broken_sends_nothing_twice(scene: Scene) -> None:
    """T3.4, DSP-5, DSP-7: sent and not saved waits, becomes unknown, and is never sent again."""
    hlf = await scene.world.organisation()
    await scenario(scene.world, hlf)
    mentor = await prompted(scene.world, hlf, "ok-1")
    await scene.world.conn.execute(FAILING_SAVES.format(times=3).encode())

    done = await run(scene)

    assert (done.outcome, counts(done), done.summary["waiting"]) == (COMPLETED, (0, 0, 0), 1)
    await scene.later(minutes=2)  # the lease has run out
    assert await history(scene.world) == {mentor: ("failed", 1, "lease_lost_after_begin")}
    for _ in range(3):
        await scene.pass_time(days=1)
        assert (await run(scene)).summary["retried"] == 0
    assert scene.fcm.sends == 1


async def test_t3_5_the_history_tells_the_whole_of_a_prompt(scene: Scene) -> None:
    """T3.5, SCN-2: who, which rule, about what, when, how it ended; inbox and run beside it."""
    hlf = await scene.world.organisation()
    rule = await scenario(scene.world, hlf)
    mentor = await prompted(scene.world, hlf, "ok-1")
    activity = await scene.world.value("select id from activities")

    done = await run(scene)

    (row,) = await scene.world.rows("select * from prompt_history")
    (inbox,) = await scene.world.rows("select * from notifications")
    now = scene.stage.clock.now()
    assert row["organisation_id"] == hlf.id
    assert row["user_id"] == row["mentor_id"] == mentor
    assert (row["scenario_id"], row["activity_ref"]) == (rule, str(activity))
    assert (row["status"], row["attempts"], row["error_class"]) == ("dispatched", 1, None)
    assert (row["due_on"], row["claimed_at"], row["settled_at"]) == (
        scene.world.day(hlf, 0),
        now,
        now,
    )
    assert (row["run_id"], row["notification_id"]) == (done.run_id, inbox["id"])
    assert (inbox["recipient_id"], inbox["kind"], inbox["status"]) == (
        mentor, "scenario_prompt", "delivered"
    )  # fmt: skip
    assert str(row["id"]) in inbox["deep_link"]
    (kept,) = await scene.world.rows("select status, summary from job_runs")
    assert kept["status"] == "done"
    assert kept["summary"] == {**done.summary, "failures": {}}


async def test_t3_6_of_two_schedulers_at_once_one_does_the_work(scene: Scene) -> None:
    """T3.6, SCN-6, DED-6: the lease lets one run work; one prompt per person, rule and activity."""
    hlf = await scene.world.organisation()
    await scenario(scene.world, hlf)
    for number in range(5):
        await prompted(scene.world, hlf, f"ok-{number}")

    both = await asyncio.gather(run(scene), run(scene))

    outcomes = sorted(done.outcome for done in both)
    assert outcomes in ([ALREADY_RUNNING, COMPLETED], [COMPLETED, COMPLETED])
    assert scene.fcm.sends == len(scene.fcm.deliveries) == 5
    assert sum(done.summary.get("successCount", 0) for done in both) == 5


async def test_scn_12_a_failed_prompt_is_tried_in_three_runs_on_its_row(scene: Scene) -> None:
    """SCN-12: each run gives its push three attempts; the fourth day is not used any more."""
    hlf = await scene.world.organisation()
    await scenario(scene.world, hlf)
    mentor = await prompted(scene.world, hlf, "int-1")
    seen = []
    for _ in range(4):
        done = await run(scene)
        for wait in (15, 30, 60):
            await scene.later(seconds=wait)
        attempts = await scene.world.value("select attempts from prompt_history")
        found = [done.summary[name] for name in ("claimed", "retried", "skipped")]
        seen.append([*found, attempts])
        await scene.pass_time(days=1)

    assert seen == [[1, 0, 0, 3], [0, 1, 0, 6], [0, 1, 0, 9], [0, 0, 1, 9]]
    assert await history(scene.world) == {mentor: ("failed", 3, "attempts_exhausted:fcm_internal")}
    assert await scene.world.value("select count(*) from notifications") == 1


async def test_scn_12_a_prompt_that_is_no_longer_due_is_not_tried_again(scene: Scene) -> None:
    """SCN-12: while due; a follow-up registered since makes it superfluous."""
    hlf = await scene.world.organisation()
    await scenario(scene.world, hlf, unless=[{"event": "follow_up_registered"}])
    mentor = await prompted(scene.world, hlf, "unreg-1")
    await run(scene)
    await scene.world.device(mentor)
    contact = await scene.world.value("select contact_ref from activities")
    await scene.pass_time(days=1)
    followed = await happened(
        scene.world, mentor, days_ago=0.5, kind="follow_up_registered", contact=contact
    )

    silent = await run(scene)
    await scene.world.conn.execute("delete from activities where id = %s", [followed])
    cured = await run(scene)

    assert (silent.summary["due"], silent.summary["retried"]) == (0, 0)
    assert (counts(cured), cured.summary["retried"]) == ((1, 0, 0), 1)
    assert await history(scene.world) == {mentor: ("dispatched", 2, None)}


async def test_scn_11_missed_runs_are_made_up_for_three_days(scene: Scene) -> None:
    """SCN-11: sent on the third day after, not on the fourth."""
    hlf = await scene.world.organisation()
    await scenario(scene.world, hlf)
    await prompted(scene.world, hlf, "ok-1")
    await scene.pass_time(days=3)
    late = await prompted(scene.world, hlf, "ok-2")
    await scene.world.conn.execute(
        "update activities set occurred_at = occurred_at - interval '4 days' where mentor_id = %s",
        [late],
    )

    assert counts(await run(scene)) == (1, 0, 0)
    assert late not in await history(scene.world)


async def test_nobody_to_reach_is_skipped_and_keeps_its_inbox_row(scene: Scene) -> None:
    """SCN-5, PUSH-10: without a device the prompt is read in the inbox, and is no failure."""
    hlf = await scene.world.organisation()
    await scenario(scene.world, hlf)
    mentor = await prompted(scene.world, hlf, None)

    done = await run(scene)
    await scene.pass_time(days=1)
    again = await run(scene)

    assert counts(done) == counts(again) == (0, 0, 1)
    assert await history(scene.world) == {mentor: ("failed", 1, "no_token")}
    assert await scene.world.value("select status from notifications") == "no_token"


async def test_an_invalid_rule_fails_the_run_and_stops_nobody(scene: Scene) -> None:
    """SCN-7: the run says which; the other rules were prompted about."""
    hlf = await scene.world.organisation()
    await scenario(scene.world, hlf, code="broken", rule={"schema": 2})
    await scenario(scene.world, hlf)
    await prompted(scene.world, hlf, "ok-1")

    done = await run(scene)

    assert (done.outcome, counts(done)) == ("failed", (1, 0, 0))
    assert done.failures == {"scenario:broken": "InvalidRule"}


async def test_a_prompt_reads_its_language_and_names_nobody(scene: Scene) -> None:
    """NTF-4: the organisation's language."""
    hlf = await scene.world.organisation()
    await scene.world.conn.execute("update organisations set language = 'en'")
    await scenario(scene.world, hlf)
    await prompted(scene.world, hlf, "ok-1")

    await run(scene)

    (sent,) = scene.fcm.deliveries
    assert sent.payload["notification"]["title"] == "Time to follow up"
    assert sent.payload["android"]["ttl"] == f"{int(timedelta(hours=24).total_seconds())}s"
