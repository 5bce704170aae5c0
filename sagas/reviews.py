"""Duplicates wait for a person: a day to look, a note to close, louder when nobody came (RCN-7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from handlers.commands import AlertOpen
from outbox import Publication, apublish_many
from sagas import audit, queries_access, queries_reviews
from sagas.audit import AuditEntry
from sagas.coordinator import Forbidden
from sagas.operator import OF_ALL, OF_ONE_ORGANISATION

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from sagas.queries_jobs import Duplicate
    from sagas.queries_reviews import Review
    from sagas.run import Organisation

DUPLICATES: Final = ("duplicate_dispatch", "duplicate_log_entries")
"""The alerts that a review closes; all others close by themselves."""

ACTION: Final = "duplicates.close"
WHO_MAY: Final = "an admin of the organisation, or of all"
_CRITICAL: Final = "critical"


def review_of(organisation: Organisation, hit: Duplicate) -> Publication:
    """Ask for the review of one duplicate."""
    alert = AlertOpen(
        type="duplicate_log_entries",
        organisation_id=organisation.id,
        mentor_id=hit.mentor_id,
        subject=review_subject(hit),
        severity="warning",
    )
    return Publication(message=alert)


def review_subject(hit: Duplicate) -> str:
    """The subject under which the review of one duplicate is open; one more is another review."""
    period = f"{hit.mentor_id}:{hit.certification_id}:{hit.tier}"
    return f"{hit.kind}:{hit.audience}:{period}:{hit.occurrences}"


class UnknownReview(LookupError):
    """There is no such alert about duplicates, or it is closed. Nothing was changed."""

    def __init__(self, alert_id: UUID) -> None:
        super().__init__(
            f"{alert_id} is no open review of duplicates; `outbox duplicates list` shows them"
        )
        self.alert_id = alert_id


async def list_open(conn: AsyncConnection[Any], *, now: datetime) -> list[Review]:
    """Every open review of duplicates, the first due first."""
    return await queries_reviews.open_reviews(conn, types=DUPLICATES, now=now)


async def close(
    conn: AsyncConnection[Any], alert_id: UUID, *, actor_id: UUID, note: str, now: datetime
) -> None:
    """Close a review with what was found. Raises `Forbidden` (audited) or `UnknownReview`.

    Owns its transaction: give an idle connection. What was closed opens no second alert, although
    the rows found twice stay where they are; a third one does.
    """
    async with conn.transaction():
        found = await queries_reviews.review_of_alert(conn, alert_id, types=DUPLICATES)
        if found is None or not found.open:
            raise UnknownReview(alert_id)
        role = await _role(conn, actor_id, found.organisation_id)
        outcome = "refused"
        if role is not None:
            closed = await queries_reviews.close_review(
                conn, alert_id, types=DUPLICATES, actor_id=actor_id, note=note, now=now
            )
            if not closed:
                raise UnknownReview(alert_id)
            outcome = "done"
        entry = AuditEntry(
            at=now,
            action=ACTION,
            actor_id=actor_id,
            actor_role=role or audit.NO_ROLE,
            organisation_id=found.organisation_id,
            mentor_id=found.mentor_id,
            subject={"alert_id": str(alert_id)},
            reason=note,
            after={"outcome": outcome},
        )
        await audit.record(conn, entry)
    if role is None:
        raise Forbidden(what="closing a review of duplicates", who_may=WHO_MAY)


async def escalate_overdue(
    conn: AsyncConnection[Any], organisation: Organisation, *, now: datetime
) -> int:
    """Make louder what nobody has looked at in time; how many. The critical stays as it is."""
    reviews = await queries_reviews.open_reviews(
        conn, types=DUPLICATES, now=now, organisation_id=organisation.id
    )
    overdue = [each for each in reviews if each.overdue and each.severity != _CRITICAL]
    await apublish_many(
        conn,
        [
            Publication(
                message=AlertOpen(
                    type=each.type,
                    organisation_id=organisation.id,
                    mentor_id=each.mentor_id,
                    subject=each.subject,
                    severity=_CRITICAL,
                )
            )
            for each in overdue
        ],
    )
    return len(overdue)


async def _role(conn: AsyncConnection[Any], actor_id: UUID, organisation_id: UUID) -> str | None:
    here = await queries_access.widest_role(conn, actor_id, organisation_id=organisation_id)
    if here in OF_ONE_ORGANISATION:
        return here
    anywhere = await queries_access.widest_role(conn, actor_id, organisation_id=None)
    return anywhere if anywhere in OF_ALL else None
