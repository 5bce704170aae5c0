"""The nightly reminders of one organisation, in one transaction the caller gives.

Claim first: a tier that fires is inserted under its unique key, and only what came back becomes
log rows, groups and messages, all in the same transaction. Whoever loses a race gets no row and
sends nothing. Memory is bounded by pages; a page costs a constant number of statements.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog
from psycopg import DatabaseError

from sagas import findings, notices, queries
from sagas.eligibility import reach
from sagas.grouping import Item, coordinator_groups, reminder_kind, single_groups
from sagas.policies import in_force
from sagas.policy import Audience
from sagas.queries import Reminder
from sagas.recipients import Resolution, Step, resolve_all
from sagas.results import OrchestrationResult
from sagas.tiers import days_until, local_date, tier_of, window_date, window_start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from psycopg import AsyncConnection

    from sagas.grouping import Group
    from sagas.policy import Policy
    from sagas.queries import DueCertificate, FiredReminder
    from sagas.run import Organisation, RunContext

log = structlog.get_logger("sagas")

ATTEMPTS_MAX: Final = 9
"""Attempts one push may use over all runs; each run gives it up to three."""

DEVICE_SILENT_MAX: Final = timedelta(days=270)
"""A device not seen for longer is not usable. Source: FCM guide, "Stale and expired tokens"."""

DUPLICATE_WITHIN: Final = timedelta(hours=24)

PERMANENT: Final = ("payload_refused%", "kind_unknown")
"""Error classes no later run can cure, as patterns. A refused address is none: a new device may."""

_BEFORE_ALL: Final = (UUID(int=0), UUID(int=0))


async def run_reminders(
    conn: AsyncConnection[Any], organisation: Organisation, run: RunContext
) -> OrchestrationResult:
    """Fire what is due for mentors and for coordinators; the counts of both together.

    Repeating it creates nothing. A record that fails is counted, logged by mentor and certificate
    type, and leaves the others running. Raises only when the transaction itself is lost.
    """
    await queries.lock_organisation(conn, organisation.id)
    policies = await in_force(conn, organisation, run)
    result = OrchestrationResult()
    for audience in Audience:
        result += await run_audience(conn, organisation, run, policies[audience])
    return result


async def run_audience(
    conn: AsyncConnection[Any], organisation: Organisation, run: RunContext, policy: Policy
) -> OrchestrationResult:
    """Fire what is due for one audience under `policy`; `run_reminders` for a single audience."""
    night = _Night(conn, organisation, run, policy)
    async for page in night.pages():
        await night.take(page)
    result = await night.finish()
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

    async def finish(self) -> OrchestrationResult:
        """Write what is grouped over the whole run, send failed pushes again, return the counts."""
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
        # what was renewed while we ran was counted where we met it
        found = await queries.count_certificates(self._conn, self._organisation.id)
        out_of_reach = max(0, found - self._in_reach)
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
        """Count reminders claimed before; send again those whose push failed curably."""
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
            if before is not None and before.reminder_id not in again and self._is_double(before):
                self._warn_of_duplicate(reminder, before.run_id)

    def _is_double(self, before: FiredReminder) -> bool:
        """Whether another run claimed it earlier on this very day; a merged key is no attempt."""
        return (
            before.status == "claimed"
            and before.run_id != self._run.run_id
            and self._run.now - before.created_at < DUPLICATE_WITHIN
            and local_date(before.created_at, self._zone) == self._today
        )

    def _warn_of_duplicate(self, reminder: Reminder, earlier_run: UUID | None) -> None:
        log.warning(
            "duplicate_dispatch_attempt",
            mentor_id=str(reminder.mentor_id),
            tier=reminder.tier.label,
            run_id=str(self._run.run_id),
            earlier_run_id=str(earlier_run),
        )

    async def _recipients(
        self, fresh: Sequence[Reminder]
    ) -> list[tuple[Reminder, Resolution | None]]:
        """Whom each reminder is for; None is the mentor himself. What reaches nobody is skipped."""
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

    async def _unguarded(
        self, told: Sequence[tuple[Reminder, Resolution | None]]
    ) -> list[tuple[Reminder, Resolution | None]]:
        """Drop every recipient who had this very push within the guard's hours (0: no guard)."""
        hours = self._policy.guard_hours
        if not hours or not told:
            return [*told]
        wanted = [
            (recipient, reminder)
            for reminder, resolution in told
            for recipient in _people(reminder, resolution)
        ]
        since = self._run.now - timedelta(hours=hours)
        hits = await queries.recent_pushes(self._conn, wanted, since=since)
        guarded: set[tuple[UUID, UUID]] = set()
        for place, earlier_run in hits.items():
            recipient, reminder = wanted[place]
            guarded.add((recipient, reminder.certification_id))
            self._warn_of_duplicate(reminder, earlier_run)
        kept: list[tuple[Reminder, Resolution | None]] = []
        for reminder, resolution in told:
            people = _people(reminder, resolution)
            left = tuple(p for p in people if (p, reminder.certification_id) not in guarded)
            if not left:
                self._count(skipped=1)
            elif resolution is None:
                kept.append((reminder, None))
            else:
                kept.append((reminder, Resolution(reminder.mentor_id, left, resolution.step)))
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
        lost = [
            each
            for each in reminders
            if each.certification_id not in claimed and each.certification_id not in refused
        ]
        if lost:  # claimed by somebody else since we looked
            fired = await queries.fired_reminders(self._conn, self._policy.audience, lost)
            await self._meet_again(lost, fired)
            self._count(skipped=len(lost) - len(fired))
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
        unsent = {
            item.reminder_id
            for group in opened.failed
            for item in group.items
            if item.reminder_id is not None
        }
        if unsent:
            released = await queries.release_reminders(self._conn, unsent)
            self._count(created=-len(released), failed=len(released))

    def _count(self, **counts: int) -> None:
        self._counts += OrchestrationResult(**counts)


def _people(reminder: Reminder, resolution: Resolution | None) -> tuple[UUID, ...]:
    return (reminder.mentor_id,) if resolution is None else resolution.recipients


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
        for recipient_id in _people(reminder, resolution)
    ]
