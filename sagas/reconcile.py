"""Reconciliation: the portal's state beside ours, drift reported and, within bounds, repaired.

The danger comes first: who is wanted hidden and shown all the same, longest first. Orphans and
what an incomplete listing merely lacks are reported and never repaired.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import structlog
from pydantic import BaseModel, ConfigDict

from handlers.commands import AlertOpen, VisibilityRaise
from outbox import Publication, apublish, apublish_many
from sagas import queries_access, queries_jobs, queries_reconcile
from sagas.coordinator import PORTAL
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

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from psycopg import AsyncConnection

    from sagas.queries_jobs import Duplicate
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
    "verdict",
]

log = structlog.get_logger("sagas")

REPAIRS_MAX: Final = 500
"""Repairs one report asks for; what is beyond is `deferred` to the next, danger first."""

ALERTS_MAX: Final = 100
REASON: Final = "reconcile"

_QUIET: Final = frozenset({Verdict.IN_SYNC, Verdict.IN_SYNC_ABSENT})


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
    """A certificate period for which a reminder, a push or a pause happened more than once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    audience: str
    mentor_id: UUID
    recipient_id: UUID | None
    certification_id: UUID | None
    tier: str
    occurrences: int


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
) -> ReconciliationReport:
    """Compare `listing` with ours, repair what may be repaired, keep and return the report.

    All in the caller's transaction: repairs are new versions, published; the calls come later.
    """
    ours = await queries_reconcile.visibility_states(conn, organisation.id, handler=PORTAL, now=now)
    if listing.snapshot_at is not None:
        await queries_reconcile.record_observations(
            conn, listing.rows, snapshot_at=listing.snapshot_at
        )
    totals, drifting = _compare(ours, listing, now=now, allowance=allowance)
    items = [
        await _repair(conn, organisation, item, now=now, dry_run=dry_run, left=repairs_max - place)
        if _repairable(item, listing)
        else item
        for place, item in _places(drifting, listing)
    ]
    duplicates = await _duplicates(conn, organisation)
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
    await queries_reconcile.insert_report(
        conn, report, organisation_id=organisation.id, run_id=run_id
    )
    log.info(
        "reconciliation.completed",
        report_id=str(report.report_id),
        organisation=organisation.code,
        complete=report.complete,
        repaired=report.repaired,
        totals=totals,
    )
    return report


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
) -> tuple[dict[str, int], list[ReconciliationItem]]:
    """Verdicts counted, and the mentors who are not in sync in the order of danger."""
    theirs = {row.mentor_id: row for row in listing.rows}
    totals: Counter[str] = Counter()
    items: list[ReconciliationItem] = []
    for mentor_id in ours.keys() | theirs.keys():
        mine, portal = ours.get(mentor_id), theirs.get(mentor_id)
        lag = _lag(mine, now)
        found = verdict(mine, portal, lag=lag, allowance=allowance)
        totals[found.value] += 1
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
    return dict(totals), items


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


async def _repair(  # noqa: PLR0913 - one item and the terms of its repair
    conn: AsyncConnection[Any],
    organisation: Organisation,
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
    await apublish(
        conn,
        VisibilityRaise(
            mentor_id=item.mentor_id,
            returned_version=item.portal_version,
            reason=item.verdict.value,
        ),
    )
    alert = AlertOpen(
        type="portal_ahead",
        organisation_id=organisation.id,
        mentor_id=item.mentor_id,
        subject=f"mentor:{item.mentor_id}",
        severity="warning",
    )
    await apublish(conn, alert)
    return item.model_copy(update={"action": Action.RAISE_REQUESTED})


async def _duplicates(
    conn: AsyncConnection[Any], organisation: Organisation
) -> tuple[DuplicateFound, ...]:
    """Look for what happened twice, by natural key, and alert the reviewers."""
    found = [
        *await queries_jobs.duplicate_reminders(conn, organisation.id),
        *await queries_jobs.duplicate_pauses(conn, organisation.id),
    ]
    await apublish_many(conn, [_review(organisation, each) for each in found[:ALERTS_MAX]])
    return tuple(
        DuplicateFound(
            kind=each.kind,
            audience=each.audience,
            mentor_id=each.mentor_id,
            recipient_id=each.recipient_id,
            certification_id=each.certification_id,
            tier=each.tier,
            occurrences=each.occurrences,
        )
        for each in found
    )


def _review(organisation: Organisation, hit: Duplicate) -> Publication:
    alert = AlertOpen(
        type="duplicate_log_entries",
        organisation_id=organisation.id,
        mentor_id=hit.mentor_id,
        subject=f"{hit.kind}:{hit.audience}:{hit.mentor_id}:{hit.tier}",
        severity="warning",
    )
    return Publication(message=alert)
