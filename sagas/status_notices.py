"""Tells coordinators of pauses and returns nobody else tells, and administrators of stuck syncs.

A pause by hand, a return by hand and a return by renewal are published by the database with the
change (PAU-9, PAU-10); what stays unconfirmed for a day is published by the alert that became
critical (ALR-3). Both become groups like any other notice: inbox first, push second.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

from handlers.commands import MentorStatusChanged, SyncUnconfirmed
from handlers.texts import Kind
from outbox import Done, Effect, Handler, Suppressed
from sagas import notices, queries, queries_status
from sagas.grouping import Item, status_groups
from sagas.recipients import resolve_all
from sagas.run import RunContext

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from psycopg import AsyncConnection

    from outbox import Attempt, Outcome
    from sagas.queries_status import StatusChange
    from sagas.recipients import Resolution
    from sagas.run import Organisation

NAME: Final = "status_notices"
STALE_AFTER: Final = timedelta(hours=24)
"""Older changes are told to nobody: a push about them would be dropped by then (PUSH-7)."""

_RUNS: Final = UUID("5b0cf4f5-8a51-4f0e-9a55-0c6a8b1f0e11")
"""Names the runs of this handler: the same message is the same run."""
_KINDS: Final = {"paused": Kind.MENTOR_PAUSED, "active": Kind.MENTOR_REACTIVATED}
_OVERTAKEN: Final = Suppressed("overtaken")


@dataclass(frozen=True, slots=True)
class StatusNotices:
    """Writes the groups of a batch of changes, one per recipient, in its own transaction.

    Told are the mentor's coordinators (REC-2) and he himself, but not whoever made the change. The
    words a person gave as reason stay in the history: what travels is a code. A notice of one
    change is keyed by the version it is about, as by everybody who tells of a status, so that
    nobody is told twice.
    """

    def handler(self) -> Handler:
        """Return the declaration the engine registers."""
        return Handler(
            name=NAME,
            messages=(MentorStatusChanged, SyncUnconfirmed),
            effect=Effect.DATABASE,
            call=self.call,
            call_many=self.call_many,
        )

    async def call(
        self,
        message: MentorStatusChanged | SyncUnconfirmed,
        attempt: Attempt,
        conn: AsyncConnection[Any],
    ) -> Outcome:
        """Tell of one change."""
        return (await self.call_many([(message, attempt)], conn))[attempt.delivery_id]

    async def call_many(
        self,
        items: Sequence[tuple[MentorStatusChanged | SyncUnconfirmed, Attempt]],
        conn: AsyncConnection[Any],
    ) -> Mapping[int, Outcome]:
        """Tell of a batch of changes; whoever follows up several of them gets one digest (GRP-6).

        A change that no longer stands, was told already or is a day old is told to nobody.
        """
        now = items[0][1].now
        run = RunContext(uuid5(_RUNS, str(items[0][1].message_id)), now)
        changes = await queries_status.status_changes(
            conn, {each.change_id for each, _ in items if isinstance(each, MentorStatusChanged)}
        )
        told = {
            change.change_id: change
            for change in changes.values()
            if change.is_news and change.at > now - STALE_AFTER
        }
        stuck = await queries_status.unconfirmed_syncs(
            conn, {each.mentor_id for each, _ in items if isinstance(each, SyncUnconfirmed)}
        )
        organisations = {each.id: each for each in await queries.list_organisations(conn)}
        for organisation_id, some in _by_organisation(told.values()).items():
            await _tell_changes(conn, organisations[organisation_id], some, run)
        for organisation_id in sorted(set(stuck.values())):
            mentors = sorted(each for each, of in stuck.items() if of == organisation_id)
            await _tell_stuck(conn, organisations[organisation_id], mentors, run)
        return {
            attempt.delivery_id: Done() if _is_told(message, told, stuck) else _OVERTAKEN
            for message, attempt in items
        }


def _is_told(
    message: MentorStatusChanged | SyncUnconfirmed,
    told: Mapping[int, StatusChange],
    stuck: Mapping[UUID, UUID],
) -> bool:
    if isinstance(message, SyncUnconfirmed):
        return message.mentor_id in stuck
    return message.change_id in told


def _by_organisation(changes: Collection[StatusChange]) -> dict[UUID, list[StatusChange]]:
    """The newest change of each mentor, by organisation."""
    newest = {each.mentor_id: each for each in sorted(changes, key=lambda each: each.change_id)}
    found: defaultdict[UUID, list[StatusChange]] = defaultdict(list)
    for change in newest.values():
        found[change.organisation_id].append(change)
    return found


async def _tell_changes(
    conn: AsyncConnection[Any],
    organisation: Organisation,
    changes: Sequence[StatusChange],
    run: RunContext,
) -> None:
    mentors = {change.mentor_id for change in changes}
    directory = await queries.load_directory(conn, organisation.id, mentors)
    resolved = resolve_all(mentors, directory)
    items = [item for change in changes for item in _items(change, resolved[change.mentor_id])]
    groups = status_groups(
        items,
        key=f"status:{run.run_id}",
        versions={change.mentor_id: change.version for change in changes},
    )
    await notices.open_groups(conn, organisation, groups, run=run)


def _items(change: StatusChange, found: Resolution) -> Iterator[Item]:
    """What each recipient is told of one change; without a step it is the mentor himself."""
    for recipient_id in (change.mentor_id, *found.recipients):
        if recipient_id != change.actor_id:
            yield Item(
                recipient_id=recipient_id,
                mentor_id=change.mentor_id,
                kind=_KINDS[change.to_status],
                reason=change.source,
                step=None if recipient_id == change.mentor_id else found.step.number,
            )


async def _tell_stuck(
    conn: AsyncConnection[Any], organisation: Organisation, mentors: Sequence[UUID], run: RunContext
) -> None:
    """One push per administrator and day: the dashboard shows which mentors, and how many."""
    items = [
        Item(recipient_id=admin_id, mentor_id=mentor_id, kind=Kind.SYNC_ALERT)
        for admin_id in await queries_status.organisation_admins(conn, organisation.id)
        for mentor_id in mentors
    ]
    groups = status_groups(items, key=f"sync:{organisation.today(run)}", versions={})
    await notices.open_groups(conn, organisation, groups, run=run)
