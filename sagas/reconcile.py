"""Reconciliation: the portal's state beside ours, drift reported and, within bounds, repaired.

Rules: RCN-1 (the listing, read in pages and checked to be one), RCN-3, RCN-4, RCN-5, RCN-6, RCN-8.

The danger comes first: who is wanted hidden and shown all the same, longest first. Orphans and
what an incomplete listing merely lacks are reported and never repaired.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import structlog
from pydantic import BaseModel, ConfigDict

from handlers.commands import VisibilityAhead, VisibilityInSync
from outbox import Publication, apublish, apublish_many
from sagas import queries_access, queries_jobs, queries_reconcile, queries_reviews, reviews
from sagas.coordinator import PORTAL
from sagas.reviews import review_subject
from sagas.verdicts import (
    DRIFT,
    EXPECTED_SYNC_LAG,
    RAISE,
    RESEND,
    Action,
    PortalRow,
    Verdict,
    verdict,
)
from sagas.visibility import ALERTS, VISIBILITY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from psycopg import AsyncConnection

    from sagas.queries_reconcile import OurState
    from sagas.run import Organisation

__all__ = [
    "EXPECTED_SYNC_LAG",
    "DuplicateFound",
    "Listing",
    "PortalRow",
    "ReconciliationItem",
    "ReconciliationReport",
    "Verdict",
    "csv_rows",
    "reconcile",
    "review_subject",
    "verdict",
]

log = structlog.get_logger("sagas")

REPAIRS_MAX: Final = 500
"""Repairs one report asks for; what is beyond is `deferred` to the next, danger first."""

ALERTS_MAX: Final = 100
REASON: Final = "reconcile"

_QUIET: Final = frozenset({Verdict.IN_SYNC, Verdict.IN_SYNC_ABSENT})
_STORED: Final = frozenset({Verdict.IN_SYNC, Verdict.LAGGING})
"""The portal holds our version with our content; absence is proved by a complete listing alone."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The portal's whole state of one organisation, as far as it could be read.

    `complete` False: pages failed or contradicted each other; absence then proves nothing.
    """

    complete: bool
    rows: Sequence[PortalRow] = field(default_factory=tuple)
    snapshot_at: datetime | None = None


class ReconciliationItem(BaseModel):
    """One mentor who is not in sync. `event_id` is the version a repair published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mentor_id: UUID
    verdict: Verdict
    our_version: int | None = None
    our_visible: bool | None = None
    portal_version: int | None = None
    portal_visible: bool | None = None
    published_visible: bool | None = None
    lag_seconds: int | None = None
    action: Action = Action.NONE
    event_id: int | None = None


class DuplicateFound(BaseModel):
    """A certificate period for which a reminder, a push or a pause happened more than once.

    `reviewed`: a person has looked at exactly these, and closed the alert.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    audience: str
    mentor_id: UUID
    recipient_id: UUID | None
    certification_id: UUID | None
    tier: str
    occurrences: int
    reviewed: bool = False


class ReconciliationReport(BaseModel):
    """One comparison of one organisation; `items` are those not in sync, danger first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    report_id: UUID
    organisation: str
    started_at: datetime
    finished_at: datetime
    complete: bool
    dry_run: bool
    totals: dict[str, int]
    repaired: int
    items: tuple[ReconciliationItem, ...]
    duplicates: tuple[DuplicateFound, ...]
    unknown_pushes: int
    failed_pushes: int
    open_alerts: int
    credential_status: dict[str, str]

    @property
    def drift(self) -> bool:
        """Whether anything was found that time alone will not put right."""
        return any(self.totals.get(each, 0) for each in DRIFT)

    def only(self, mentor_ids: Collection[UUID]) -> ReconciliationReport:
        """The same report cut down to these mentors: what one coordinator may read."""
        items = tuple(item for item in self.items if item.mentor_id in mentor_ids)
        duplicates = tuple(each for each in self.duplicates if each.mentor_id in mentor_ids)
        totals = dict(Counter(item.verdict.value for item in items))
        return self.model_copy(update={"items": items, "duplicates": duplicates, "totals": totals})


async def reconcile(  # noqa: PLR0913 - what is compared, when, and how far it may go
    conn: AsyncConnection[Any],
    listing: Listing,
    organisation: Organisation,
    now: datetime,
    *,
    allowance: timedelta = EXPECTED_SYNC_LAG,
    dry_run: bool = False,
    repairs_max: int = REPAIRS_MAX,
    run_id: UUID | None = None,
    light: bool = False,
) -> ReconciliationReport:
    """Compare `listing` with ours, repair what may be repaired, keep and return the report.

    All in the caller's transaction: repairs are new versions, published; the calls come later. Who
    is in sync while an alert about it is open, or a confirmation awaited, is told to his saga.
    `light` is the hourly version (RCN-1): without the search for duplicates, and the report is kept
    only where there was drift or the listing broke off.
    """
    ours = await queries_reconcile.visibility_states(conn, organisation.id, handler=PORTAL, now=now)
    listing = await _own(conn, listing, organisation, ours)
    if listing.snapshot_at is not None:
        await queries_reconcile.record_observations(
            conn, listing.rows, snapshot_at=listing.snapshot_at
        )
    totals, drifting, agreed = _compare(ours, listing, now=now, allowance=allowance)
    if not dry_run:
        await _tell_agreed(conn, organisation, [ours[mentor_id] for mentor_id in agreed])
        await reviews.escalate_overdue(conn, organisation, now=now)
    items = [
        await _repair(conn, item, now=now, dry_run=dry_run, left=repairs_max - place)
        if _repairable(item, listing)
        else item
        for place, item in _places(drifting, listing)
    ]
    duplicates = () if light else await _duplicates(conn, organisation)
    facts = await queries_reconcile.report_facts(conn, organisation.id)
    report = ReconciliationReport(
        report_id=uuid4(),
        organisation=organisation.code,
        started_at=now,
        finished_at=now,
        complete=listing.complete,
        dry_run=dry_run,
        totals=totals,
        repaired=sum(item.action in (Action.RESENT, Action.RAISE_REQUESTED) for item in items),
        items=tuple(items),
        duplicates=duplicates,
        unknown_pushes=facts.unknown_pushes,
        failed_pushes=facts.failed_pushes,
        open_alerts=facts.open_alerts,
        credential_status=dict(facts.credential_status),
    )
    await _keep(conn, report, organisation, run_id=run_id, light=light)
    return report


async def _own(
    conn: AsyncConnection[Any], listing: Listing, organisation: Organisation, ours: Collection[UUID]
) -> Listing:
    """The listing without whom another organisation on the same portal reports."""
    strange = [row.mentor_id for row in listing.rows if row.mentor_id not in ours]
    others = await queries_reconcile.mentors_of_others(conn, organisation, strange)
    return replace(listing, rows=[row for row in listing.rows if row.mentor_id not in others])


async def _keep(
    conn: AsyncConnection[Any],
    report: ReconciliationReport,
    organisation: Organisation,
    *,
    run_id: UUID | None,
    light: bool,
) -> None:
    if not light or report.drift or not report.complete:
        await queries_reconcile.insert_report(
            conn, report, organisation_id=organisation.id, run_id=run_id
        )
    log.info(
        "reconciliation.completed",
        report_id=str(report.report_id),
        organisation=organisation.code,
        complete=report.complete,
        repaired=report.repaired,
        totals=report.totals,
    )


def csv_rows(report: ReconciliationReport) -> Iterator[str]:
    """The report's items as lines of CSV (RFC 4180), the header first."""
    names = list(ReconciliationItem.model_fields)
    yield _csv_line(names)
    for item in report.items:
        dumped = item.model_dump(mode="json")
        yield _csv_line(["" if dumped[name] is None else dumped[name] for name in names])


def _csv_line(values: Sequence[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(values)
    return buffer.getvalue()


def _compare(
    ours: dict[UUID, OurState], listing: Listing, *, now: datetime, allowance: timedelta
) -> tuple[dict[str, int], list[ReconciliationItem], list[UUID]]:
    """Verdicts counted, who is not in sync in the order of danger, and whose state is stored."""
    theirs = {row.mentor_id: row for row in listing.rows}
    totals: Counter[str] = Counter()
    items: list[ReconciliationItem] = []
    agreed: list[UUID] = []
    for mentor_id in ours.keys() | theirs.keys():
        mine, portal = ours.get(mentor_id), theirs.get(mentor_id)
        lag = _lag(mine, now)
        found = verdict(mine, portal, lag=lag, allowance=allowance)
        totals[found.value] += 1
        if mine is not None and (found in _STORED or (found in _QUIET and listing.complete)):
            agreed.append(mentor_id)
        if found not in _QUIET:
            items.append(
                ReconciliationItem(
                    mentor_id=mentor_id,
                    verdict=found,
                    our_version=mine.version if mine else None,
                    our_visible=mine.visible if mine else None,
                    portal_version=portal.version if portal else None,
                    portal_visible=portal.visible if portal else None,
                    published_visible=portal.published_visible if portal else None,
                    lag_seconds=int(lag.total_seconds()) if mine and mine.changed_at else None,
                )
            )
    items.sort(key=_danger)
    return dict(totals), items, agreed


async def _tell_agreed(
    conn: AsyncConnection[Any], organisation: Organisation, agreed: Sequence[OurState]
) -> None:
    """Tell the sagas of whom something is still awaited, or alerted, that the portal agrees."""
    watched = await queries_reconcile.watched_mentors(
        conn, organisation.id, saga=VISIBILITY.name, types=ALERTS
    )
    told = [
        Publication(
            message=VisibilityInSync(
                mentor_id=mine.mentor_id, version=mine.version, alerts=watched[mine.mentor_id]
            ),
            key=f"mentor:{mine.mentor_id}",
        )
        for mine in sorted(agreed, key=lambda each: each.mentor_id)
        if mine.mentor_id in watched
    ]
    await apublish_many(conn, told)


def _lag(mine: OurState | None, now: datetime) -> timedelta:
    """Time since our state changed; what never changed is older than any allowance."""
    if mine is None or mine.changed_at is None:
        return timedelta.max
    return max(timedelta(0), now - mine.changed_at)


def _danger(item: ReconciliationItem) -> tuple[bool, int, UUID]:
    """Wanted hidden but shown before all others, then the longest wait."""
    shown = bool(item.published_visible) or bool(item.portal_visible)
    harmless = item.our_visible is not False or not shown
    waited = item.lag_seconds if item.lag_seconds is not None else 2**62
    return (harmless, -waited, item.mentor_id)


def _repairable(item: ReconciliationItem, listing: Listing) -> bool:
    if item.verdict is Verdict.MISSING:
        return listing.complete
    return item.verdict in RESEND | RAISE


def _places(
    items: Sequence[ReconciliationItem], listing: Listing
) -> Iterator[tuple[int, ReconciliationItem]]:
    """Each item with the number of repairs before it."""
    before = 0
    for item in items:
        yield before, item
        before += _repairable(item, listing)


async def _repair(
    conn: AsyncConnection[Any],
    item: ReconciliationItem,
    *,
    now: datetime,
    dry_run: bool,
    left: int,
) -> ReconciliationItem:
    """Re-send or ask for a raise; the item with what was done."""
    if left <= 0:
        return item.model_copy(update={"action": Action.DEFERRED})
    resend = item.verdict in RESEND
    if dry_run:
        action = Action.PLANNED_RESEND if resend else Action.PLANNED_RAISE
        return item.model_copy(update={"action": action})
    if resend:
        version = await queries_access.bump_visibility(conn, item.mentor_id, reason=REASON, now=now)
        if version is None:
            return item
        return item.model_copy(update={"action": Action.RESENT, "event_id": version})
    assert item.portal_version is not None, "conflict and ahead are verdicts about a portal row"
    ahead = VisibilityAhead(
        mentor_id=item.mentor_id, returned_version=item.portal_version, cause=item.verdict.value
    )
    await apublish(conn, ahead, key=f"mentor:{item.mentor_id}")
    return item.model_copy(update={"action": Action.RAISE_REQUESTED})


async def _duplicates(
    conn: AsyncConnection[Any], organisation: Organisation
) -> tuple[DuplicateFound, ...]:
    """Look for what happened twice, by natural key, and alert the reviewers (RCN-5 to RCN-7).

    What a person has reviewed is told as such and opens no second alert.
    """
    found = [
        *await queries_jobs.duplicate_reminders(conn, organisation.id),
        *await queries_jobs.duplicate_pauses(conn, organisation.id),
    ]
    reviewed = await queries_reviews.reviewed_subjects(
        conn, organisation.id, types=reviews.DUPLICATES
    )
    unseen = [each for each in found if review_subject(each) not in reviewed]
    await apublish_many(
        conn, [reviews.review_of(organisation, each) for each in unseen[:ALERTS_MAX]]
    )
    return tuple(
        DuplicateFound(
            kind=each.kind,
            audience=each.audience,
            mentor_id=each.mentor_id,
            recipient_id=each.recipient_id,
            certification_id=each.certification_id,
            tier=each.tier,
            occurrences=each.occurrences,
            reviewed=review_subject(each) in reviewed,
        )
        for each in found
    )
