"""The lapse sweep: whoever's required certificate has lapsed is paused, and coordinators are told.

Rules: PAU-1, PAU-2, PAU-4, PAU-12.

One transaction holds the pause, its history, the message for the portal, the merged reminder keys
and the coordinators' groups; no call to the outside is in it. What the portal makes of it later
never undoes the pause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from handlers.texts import Audience, Kind
from sagas import findings, notices, queries
from sagas.grouping import Item, pause_groups
from sagas.policies import in_force
from sagas.queries import Reminder
from sagas.recipients import resolve_all
from sagas.results import SweepResult
from sagas.tiers import LAPSED, window_date, window_start

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

    from psycopg import AsyncConnection

    from sagas.policy import Policy
    from sagas.queries import PausedMentor
    from sagas.recipients import Resolution
    from sagas.run import Organisation, RunContext

log = structlog.get_logger("sagas")

REASON: Final = "certificate_lapsed"


async def sweep(
    conn: AsyncConnection[Any], organisation: Organisation, run: RunContext
) -> SweepResult:
    """Pause who has lapsed and tell their coordinators, once per mentor and certificate period.

    Only what the database says has changed is told, so a repeated sweep tells nobody. For
    coordinators the notice and the lapsed reminder of the same period are one message: its key is
    claimed here as merged. The mentor still gets his own lapsed notice from the nightly reminders.
    """
    await queries.lock_organisation(conn, organisation.id)
    paused = await queries.pause_lapsed_mentors(conn, organisation.id, run=run)
    if not paused:
        return SweepResult()
    mentors = {each.mentor_id for each in paused}
    directory = await queries.load_directory(conn, organisation.id, mentors)
    resolved = resolve_all(mentors, directory)
    policies = await in_force(conn, organisation, run)
    merged = await _merge(
        conn, organisation, paused, run=run, policy=policies[Audience.COORDINATOR]
    )
    missing = {
        mentor_id: found.step.number
        for mentor_id, found in resolved.items()
        if found.missing_coordinator
    }
    if missing:
        await findings.note_missing(conn, organisation, missing, run)
    groups = pause_groups(_items(paused, resolved), run_id=run.run_id)
    opened = await notices.open_groups(conn, organisation, groups, run=run)
    unheard = _of(opened.unsent) - _of(item for group in opened.groups for item in group.items)
    given_back = [merged[each] for each in unheard if each in merged]
    if given_back:  # nobody heard of the pause, so the night's lapsed reminder tells of it
        await queries.release_reminders(conn, given_back)
    result = SweepResult(
        paused=len(paused),
        groups=len(opened.groups),
        merged=len(merged) - len(given_back),
        missing_coordinator=len(missing),
        failed=len(opened.unsent),
    )
    log.info(
        "sweep.completed",
        run_id=str(run.run_id),
        organisation=organisation.code,
        **result.as_json(),
    )
    return result


async def _merge(
    conn: AsyncConnection[Any],
    organisation: Organisation,
    paused: Sequence[PausedMentor],
    *,
    run: RunContext,
    policy: Policy,
) -> Mapping[UUID, UUID]:
    """Claim the coordinators' lapsed reminders of these periods, so that nobody is told twice."""
    today, cadence = organisation.today(run), policy.cadence_of(LAPSED.label)
    reminders = [
        Reminder(
            mentor_id=each.mentor_id,
            certification_id=each.certification_id,
            certificate_type=each.certificate_type,
            expiry_date=each.expiry_date,
            tier=LAPSED,
            window_start=window_start(each.expiry_date, LAPSED),
            window_date=window_date(each.expiry_date, LAPSED, cadence=cadence, today=today),
        )
        for each in paused
    ]
    return await queries.claim_reminders(
        conn, organisation.id, Audience.COORDINATOR, reminders, run=run, status="merged"
    )


def _of(items: Iterable[Item]) -> set[UUID]:
    """The certificates that `items` are about."""
    return {item.certification_id for item in items if item.certification_id is not None}


def _items(paused: Sequence[PausedMentor], resolved: Mapping[UUID, Resolution]) -> list[Item]:
    return [
        Item(
            recipient_id=recipient_id,
            mentor_id=each.mentor_id,
            kind=Kind.MENTOR_PAUSED,
            certification_id=each.certification_id,
            certificate_type=each.certificate_type,
            expiry_date=each.expiry_date,
            reason=REASON,
            step=resolved[each.mentor_id].step.number,
        )
        for each in paused
        for recipient_id in resolved[each.mentor_id].recipients
    ]
