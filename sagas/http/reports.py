"""Reports, cut down to whom the caller answers for: reconciliation, duplicates, data quality."""

from collections import Counter
from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, PlainTextResponse
from psycopg import AsyncConnection

from sagas import queries_jobs, queries_reconcile, reconcile
from sagas.http import queries
from sagas.http.desk import AtDesk, Desk, Person
from sagas.http.fields import Before, Limit, Told
from sagas.http.problems import not_found, refusals
from sagas.http.sentences import spoken, told, told_of
from sagas.http.tokens import Caller
from sagas.reconcile import DuplicateFound, ReconciliationItem, ReconciliationReport
from sagas.run import zone_called

router = APIRouter(prefix="/reports", tags=["reports"])

_CSV = "text/csv"
_HTML = "text/html"
_OF_A_PAGE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}
"""What it may do in a browser: show itself."""


class ReportHeader(Told):
    """One stored comparison with the portal, without its items."""

    report_id: UUID
    organisation: str
    started_at: datetime
    finished_at: datetime | None
    complete: bool
    dry_run: bool
    repaired: int


class Reports(Told):
    """A page of reports, the newest first; `next` is the `before` of the next page."""

    items: list[ReportHeader]
    next: UUID | None


class Review(Told):
    """The review that a duplicate waits for (RCN-7)."""

    opened_at: datetime
    due_at: datetime | None
    severity: str


class Duplicate(Told):
    """Something that happened more than once for one certificate period."""

    organisation: str
    kind: Literal["reminder", "push", "pause"]
    audience: str
    mentor_id: UUID
    recipient_id: UUID | None
    certification_id: UUID | None
    tier: str
    occurrences: int
    review: Review | None


class Duplicates(Told):
    """All there are now, by organisation."""

    items: list[Duplicate]


class Finding(Told):
    """Something wrong with the data; `step` is who stands in for a missing coordinator (REC-2)."""

    id: UUID
    kind: str
    organisation_id: UUID
    chapter_id: UUID | None
    mentor_id: UUID | None
    step: int | None
    title: str
    meaning: str
    told_instead: str | None
    """Who stands in for a missing coordinator, in the language asked for like the two above."""
    found_at: datetime
    last_seen_at: datetime


class Findings(Told):
    """Open findings, the longest open first."""

    items: list[Finding]


@router.get("/reconciliation", responses=refusals(HTTPStatus.FORBIDDEN))
async def list_reports(
    desk: AtDesk, caller: Person, before: Before = None, limit: Limit = 20
) -> Reports:
    """Comparisons with the portal, of the caller's organisations."""
    async with desk.sessions.person(caller) as conn:
        found = await queries.my_reports(conn, before=before, limit=limit)
    items = [
        ReportHeader.model_validate({name: row[name] for name in ReportHeader.model_fields})
        for row in found
    ]
    return Reports(items=items, next=items[-1].report_id if len(items) == limit else None)


@router.get(
    "/reconciliation/{report_id}.csv",
    response_class=PlainTextResponse,
    responses={
        HTTPStatus.OK.value: {"content": {_CSV: {"schema": {"type": "string"}}}},
        **refusals(HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND),
    },
)
async def show_report_as_csv(desk: AtDesk, caller: Person, report_id: UUID) -> PlainTextResponse:
    """The items of one comparison as CSV (RFC 4180)."""
    report = await _report(desk, caller, report_id)
    return PlainTextResponse("".join(reconcile.csv_rows(report)), media_type=_CSV)


@router.get(
    "/reconciliation/{report_id}.html",
    response_class=HTMLResponse,
    responses={
        HTTPStatus.OK.value: {"content": {_HTML: {"schema": {"type": "string"}}}},
        **refusals(HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND),
    },
)
async def show_report_as_page(desk: AtDesk, caller: Person, report_id: UUID) -> HTMLResponse:
    """One comparison as a page to forward, in the language asked for; it names nobody.

    The development over earlier reports is for administrators: its counts are of all mentors.
    """
    from sagas import report_page  # noqa: PLC0415 - brings a library of charts along

    report = await _report(desk, caller, report_id)
    async with desk.sessions.person(caller) as conn:
        places = {row["code"]: row for row in await queries.my_reach(conn)}
        place = places.get(report.organisation)
        runs: list[report_page.Run] = []
        if place is not None and place["administered"]:
            found = await queries_reconcile.drift_of_runs(
                conn, place["organisation_id"], limit=report_page.RUNS_MAX
            )
            runs = report_page.runs_of(found)
    zones = {code: zone_called(row["timezone"]) for code, row in places.items()}
    body = report_page.page([report], {report.organisation: runs}, language=spoken(), zones=zones)
    return HTMLResponse(body, headers=_OF_A_PAGE)


@router.get(
    "/reconciliation/{report_id}", responses=refusals(HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
)
async def show_report(desk: AtDesk, caller: Person, report_id: UUID) -> ReconciliationReport:
    """One comparison: an administrator reads all of it, others what concerns their mentors."""
    return await _report(desk, caller, report_id)


@router.get("/duplicates", responses=refusals(HTTPStatus.FORBIDDEN))
async def list_duplicates(desk: AtDesk, caller: Person) -> Duplicates:
    """What happened twice, looked for now, independent of the constraints that forbid it."""
    items: list[Duplicate] = []
    async with desk.sessions.person(caller) as conn:
        reach = await queries.my_reach(conn)
        mentors = await queries.my_mentors(conn)
        reviews = {
            (row["organisation_id"], row["subject"]): row
            for row in await queries.duplicate_reviews(conn)
        }
        await desk.sessions.promote(conn, caller)
        for each in reach:
            items += [
                _duplicate(each, hit, reviews)
                for hit in await _duplicates(conn, each["organisation_id"])
                if each["administered"] or hit.mentor_id in mentors
            ]
        await desk.sessions.demote(conn, caller)
        shown = await queries.note_reads(conn, {item.mentor_id for item in items})
    return Duplicates(items=[item for item in items if item.mentor_id in shown])


@router.get("/data-quality", responses=refusals(HTTPStatus.FORBIDDEN))
async def list_findings(desk: AtDesk, caller: Person, limit: Limit = 200) -> Findings:
    """What is wrong with the data about whom the caller answers for (REC-8)."""
    async with desk.sessions.person(caller) as conn:
        found = await queries.my_findings(conn, limit=limit)
    return Findings(items=[_finding(row) for row in found])


def _finding(row: dict[str, Any]) -> Finding:
    kind, step = row["kind"], row["step"]
    return Finding.model_validate(
        {
            **row,
            "title": told_of("finding", kind),
            "meaning": told_of("finding", kind, ".meaning"),
            "told_instead": None if step is None else told(f"step-{step}"),
        }
    )


async def _report(desk: Desk, caller: Caller, report_id: UUID) -> ReconciliationReport:
    async with desk.sessions.person(caller) as conn:
        found = await queries.my_reports(conn, report_id=report_id)
        if not found:
            raise not_found("report")
        items = await queries.my_report_items(conn, report_id)
        duplicates = await queries.my_report_duplicates(conn, report_id)
    (header,) = found
    if not header["administered"]:
        header["totals"] = dict(Counter(item["verdict"] for item in items))
    facts = {
        name: header[name]
        for name in ReconciliationReport.model_fields
        if name not in {"items", "duplicates"}
    }
    return ReconciliationReport(
        **facts,
        items=tuple(ReconciliationItem(**item) for item in items),
        duplicates=tuple(DuplicateFound(**each) for each in duplicates),
    )


async def _duplicates(
    conn: AsyncConnection[Any], organisation_id: UUID
) -> list[queries_jobs.Duplicate]:
    return [
        *await queries_jobs.duplicate_reminders(conn, organisation_id),
        *await queries_jobs.duplicate_pauses(conn, organisation_id),
    ]


def _duplicate(
    place: dict[str, Any],
    hit: queries_jobs.Duplicate,
    reviews: dict[tuple[UUID, str], dict[str, Any]],
) -> Duplicate:
    subject = reconcile.review_subject(hit)
    review = reviews.get((place["organisation_id"], subject))
    return Duplicate(
        organisation=place["code"],
        kind=hit.kind,
        audience=hit.audience,
        mentor_id=hit.mentor_id,
        recipient_id=hit.recipient_id,
        certification_id=hit.certification_id,
        tier=hit.tier,
        occurrences=hit.occurrences,
        review=None
        if review is None
        else Review(
            opened_at=review["opened_at"], due_at=review["due_at"], severity=review["severity"]
        ),
    )
