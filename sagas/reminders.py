"""The nightly reminders of one organisation, in one transaction the caller gives.

Claim first: a tier that fires is inserted under its unique key (DED-1), and only what came back
becomes log rows, groups and messages, all in the same transaction (ARC-7). Whoever loses a race
gets no row and sends nothing (DED-3). Memory is bounded by pages; a page costs a constant number of
statements (PRF-4).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog
from psycopg import DatabaseError

from handlers.texts import Audience
from sagas import findings, notices, queries
from sagas.dedup import is_double, lost, people_of, pushes_of, without_recent
from sagas.eligibility import reach
from sagas.grouping import Item, coordinator_groups, reminder_kind, single_groups
from sagas.policies import in_force
from sagas.queries import Reminder
from sagas.recipients import Step, resolve_all
from sagas.results import OrchestrationResult
from sagas.tiers import days_until, local_date, tier_of, window_date, window_start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from psycopg import AsyncConnection

    from sagas.dedup import Told
    from sagas.grouping import Group
    from sagas.policy import Policy
    from sagas.queries import DueCertificate, FiredReminder
    from sagas.recipients import Resolution
    from sagas.run import Organisation, RunContext

log = structlog.get_logger("sagas")

ATTEMPTS_MAX: Final = 9
"""Attempts one push may use over all runs; each run gives it up to three."""

DEVICE_SILENT_MAX: Final = timedelta(days=270)
"""A device not seen for longer is not usable. Source: FCM guide, "Stale and expired tokens"."""

PERMANENT: Final = ("payload_refused%", "kind_unknown")
"""Error classes no later run can cure, as patterns. A refused address is none: a new device may."""

_BEFORE_ALL: Final = (UUID(int=0), UUID(int=0))


async def run_reminders(
    conn: AsyncConnection[Any], organisation: Organisation, run: RunContext
) -> OrchestrationResult:
    """Fire what is due for mentors and for coordinators; the counts of both together.

    Repeating it creates nothing (DED-5). A record that fails is counted, logged by mentor and
    certificate type, and leaves the others running (ARC-2). Raises only when the transaction itself
    is lost.
    """
    await queries.lock_organisation(conn, organisation.id)
    policies = await in_force(conn, organisation, run)
    records = await queries.count_certificates(conn, organisation.id)
    result = OrchestrationResult()
    for audience in Audience:
        result += await run_audience(conn, organisation, run, policies[audience], records=records)
    return result


async def run_audience(
    conn: AsyncConnection[Any],
    organisation: Organisation,
    run: RunContext,
    policy: Policy,
    *,
    records: int | None = None,
) -> OrchestrationResult:
    """Fire what is due for one audience under `policy`; `run_reminders` for a single audience.

    `records` is how many certificates the organisation's run judges, where that is known already.
    """
    if records is None:
        records = await queries.count_certificates(conn, organisation.id)
    night = _Night(conn, organisation, run, policy)
    async for page in night.pages():
        await night.take(page)
    result = await night.finish(records)
    log.info(
        "reminders.completed",
        run_id=str(run.run_id),
        organisation=organisation.code,
        audience=policy.audience.value,
        **result.as_json(),
    )
    return result


class _Night:
    """One audience of one organisation on one run: what was claimed and counted so far."""

    def __init__(
        self,
        conn: AsyncConnection[Any],
        organisation: Organisation,
        run: RunContext,
        policy: Policy,
    ) -> None:
        self._conn, self._organisation, self._run, self._policy = conn, organisation, run, policy
        self._zone = organisation.zone
        self._today = local_date(run.now, self._zone)
        self._items: list[Item] = []
        self._again: set[UUID] = set()
        self._missing: set[UUID] = set()
        self._in_reach = 0
        self._counts = OrchestrationResult()

    async def pages(self) -> AsyncIterator[Sequence[DueCertificate]]:
        """The certificates in reach, page by page."""
        first, last = reach(
            self._policy, today=self._today, go_live_on=self._organisation.go_live_date
        )
        after = _BEFORE_ALL
        while True:
            page = await queries.due_certificates(
                self._conn,
                self._organisation.id,
                first=first,
                last=last,
                after=after,
                limit=self._run.page_size,
            )
            if page:
                yield page
            if len(page) < self._run.page_size:
                return
            after = (page[-1].mentor_id, page[-1].certification_id)

    async def take(self, page: Sequence[DueCertificate]) -> None:
        """Judge one page, claim what fires and, for mentors, write its groups."""
        self._in_reach += len(page)
        due = self._judge(page)
        fired = await queries.fired_reminders(self._conn, self._policy.audience, due)
        await self._meet_again(due, fired)
        fresh = [each for each in due if each.certification_id not in fired]
        told = await self._recipients(fresh)
        told = await self._unguarded(told)
        claimed = await self._claim([reminder for reminder, _ in told])
        self._items += [
            item
            for reminder, resolution in told
            if reminder.certification_id in claimed
            for item in _items(reminder, resolution, claimed[reminder.certification_id])
        ]
        if self._policy.audience is Audience.MENTOR:
            await self._send(single_groups(self._items))

    async def finish(self, records: int) -> OrchestrationResult:
        """Write what is grouped over the whole run, send failed pushes again, return the counts.

        Of the organisation's `records` those that no page held are not due.
        """
        if self._policy.audience is Audience.COORDINATOR:
            mode, run_id = self._policy.grouping, self._run.run_id
            await self._send(coordinator_groups(self._items, mode=mode, run_id=run_id))
        await notices.send_again(self._conn, self._again)
        await queries.expire_failed(
            self._conn,
            self._organisation.id,
            self._policy.audience,
            permanent=PERMANENT,
            now=self._run.now,
        )
        # what was issued while we ran was counted where we met it
        out_of_reach = max(0, records - self._in_reach)
        self._count(
            processed=self._in_reach + out_of_reach,
            not_due=out_of_reach,
            missing_coordinator=len(self._missing),
        )
        return self._counts

    def _judge(self, page: Sequence[DueCertificate]) -> list[Reminder]:
        due: list[Reminder] = []
        for row in page:
            if row.expiry_date is None:
                self._count(failed=1)
                # PII-2: an error may say the type, an enumerated code; never a date or a number
                log.error(
                    "reminder.record_unusable",
                    run_id=str(self._run.run_id),
                    mentor_id=str(row.mentor_id),
                    certificate_type=row.certificate_type,
                )
                continue
            tier = tier_of(days_until(row.expiry_date, self._run.now, self._zone), self._policy)
            if tier is None:
                self._count(not_due=1)
                continue
            cadence = self._policy.cadence_of(tier.label)
            due.append(
                Reminder(
                    mentor_id=row.mentor_id,
                    certification_id=row.certification_id,
                    certificate_type=row.certificate_type,
                    expiry_date=row.expiry_date,
                    tier=tier,
                    window_start=window_start(row.expiry_date, tier),
                    window_date=window_date(
                        row.expiry_date, tier, cadence=cadence, today=self._today
                    ),
                )
            )
        return due

    async def _meet_again(
        self, due: Iterable[Reminder], fired: Mapping[UUID, FiredReminder]
    ) -> None:
        """Count reminders claimed before; send again those whose push failed curably (DED-10)."""
        if not fired:
            return
        again = await queries.requeue_failed(
            self._conn,
            [each.reminder_id for each in fired.values()],
            attempts_max=ATTEMPTS_MAX,
            permanent=PERMANENT,
            now=self._run.now,
        )
        self._again.update(*again.values())
        self._count(retried=len(again), skipped=len(fired) - len(again))
        for reminder in due:
            before = fired.get(reminder.certification_id)
            if before is None or before.reminder_id in again:
                continue
            if is_double(before, run_id=self._run.run_id, now=self._run.now, zone=self._zone):
                self._warn_of_duplicate(reminder, before.run_id)

    def _warn_of_duplicate(self, reminder: Reminder, earlier_run: UUID | None) -> None:
        log.warning(
            "duplicate_dispatch_attempt",
            mentor_id=str(reminder.mentor_id),
            tier=reminder.tier.label,
            run_id=str(self._run.run_id),
            earlier_run_id=str(earlier_run),
        )

    async def _recipients(self, fresh: Sequence[Reminder]) -> list[Told]:
        """Whom each reminder is for; None: the mentor himself (REC-1). Without anybody: skipped."""
        if self._policy.audience is Audience.MENTOR or not fresh:
            return [(each, None) for each in fresh]
        mentors = {each.mentor_id for each in fresh}
        directory = await queries.load_directory(self._conn, self._organisation.id, mentors)
        resolved = resolve_all(mentors, directory)
        missing = {
            mentor_id: found.step.number
            for mentor_id, found in resolved.items()
            if found.missing_coordinator
        }
        if missing:
            await findings.note_missing(self._conn, self._organisation, missing, self._run)
            self._missing |= missing.keys()
        told = [(each, resolved[each.mentor_id]) for each in fresh]
        reached = [(each, found) for each, found in told if found.step is not Step.NOBODY]
        self._count(skipped=len(told) - len(reached))
        return [*reached]

    async def _unguarded(self, told: Sequence[Told]) -> list[Told]:
        """Drop every recipient who had this very push within the guard's hours (DED-7; 0: off)."""
        hours = self._policy.guard_hours
        if not hours or not told:
            return [*told]
        wanted = pushes_of(told)
        since = self._run.now - timedelta(hours=hours)
        hits = await queries.recent_pushes(self._conn, wanted, since=since)
        recent: set[tuple[UUID, UUID]] = set()
        for place, earlier_run in hits.items():
            recipient, reminder = wanted[place]
            recent.add((recipient, reminder.certification_id))
            self._warn_of_duplicate(reminder, earlier_run)
        kept, dropped = without_recent(told, recent)
        self._count(skipped=dropped)
        return kept

    async def _claim(self, reminders: Sequence[Reminder]) -> dict[UUID, UUID]:
        """Claim in bulk, one by one where the bulk fails; reminder ids by certificate."""
        if not reminders:
            return {}
        refused: set[UUID] = set()
        try:
            async with self._conn.transaction():
                claimed = await self._claim_these(reminders)
        except DatabaseError as error:
            notices.raise_if_lost(error)
            claimed, refused = await self._claim_one_by_one(reminders)
        if missed := lost(reminders, claimed, refused):
            fired = await queries.fired_reminders(self._conn, self._policy.audience, missed)
            await self._meet_again(missed, fired)
            self._count(skipped=len(missed) - len(fired))
        self._count(created=len(claimed))
        return claimed

    async def _claim_one_by_one(
        self, reminders: Sequence[Reminder]
    ) -> tuple[dict[UUID, UUID], set[UUID]]:
        claimed: dict[UUID, UUID] = {}
        refused: set[UUID] = set()
        for reminder in reminders:
            try:
                async with self._conn.transaction():
                    claimed |= await self._claim_these([reminder])
            except DatabaseError as error:
                notices.raise_if_lost(error)
                refused.add(reminder.certification_id)
                self._count(failed=1)
                log.error(  # noqa: TRY400 - a foreign text may quote values
                    "reminder.record_failed",
                    run_id=str(self._run.run_id),
                    mentor_id=str(reminder.mentor_id),
                    certificate_type=reminder.certificate_type,
                    tier=reminder.tier.label,
                    sqlstate=error.sqlstate,
                )
        return claimed, refused

    async def _claim_these(self, reminders: Sequence[Reminder]) -> dict[UUID, UUID]:
        return await queries.claim_reminders(
            self._conn, self._organisation.id, self._policy.audience, reminders, run=self._run
        )

    async def _send(self, groups: Sequence[Group]) -> None:
        """Write and publish `groups`; reminders that reached no group at all are given back."""
        self._items = []
        if not groups:
            return
        opened = await notices.open_groups(self._conn, self._organisation, groups, run=self._run)
        recipients = {group.recipient_id for group in opened.groups}
        usable = await queries.usable_recipients(
            self._conn, recipients, seen_since=self._run.now - DEVICE_SILENT_MAX
        )
        queued = sum(group.recipient_id in usable for group in opened.groups)
        self._count(queued=queued, no_token=len(opened.groups) - queued)
        unsent = {item.reminder_id for item in opened.unsent if item.reminder_id is not None}
        if unsent:
            released = await queries.release_reminders(self._conn, unsent)
            self._count(created=-len(released), failed=len(released))

    def _count(self, **counts: int) -> None:
        self._counts += OrchestrationResult(**counts)


def _items(reminder: Reminder, resolution: Resolution | None, reminder_id: UUID) -> list[Item]:
    return [
        Item(
            recipient_id=recipient_id,
            mentor_id=reminder.mentor_id,
            kind=reminder_kind(reminder.tier),
            reminder_id=reminder_id,
            certification_id=reminder.certification_id,
            certificate_type=reminder.certificate_type,
            expiry_date=reminder.expiry_date,
            tier=reminder.tier,
            step=None if resolution is None else resolution.step.number,
        )
        for recipient_id in people_of((reminder, resolution))
    ]
