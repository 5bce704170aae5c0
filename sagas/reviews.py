"""What waits for a person: a note closes it; duplicates get louder when nobody came (RCN-7)."""

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
    from sagas.queries_reviews import Review, Reviewed
    from sagas.run import Organisation

DUPLICATES: Final = ("duplicate_dispatch", "duplicate_log_entries")
"""The alerts that a review closes (RCN-7)."""

PLATFORM_KEYS: Final = "fcm:platform"
"""The subject of the alert about keys that the push project holds, which no check can try."""

ACTION: Final = "duplicates.close"
ALERT_ACTION: Final = "alert.close"
WHO_MAY: Final = "an admin of the organisation, or of all"
WHO_MAY_FOR_ALL: Final = "an admin of all organisations"
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


class UnknownAlert(LookupError):
    """There is no such alert, or it is closed. Nothing was changed."""

    def __init__(self, alert_id: UUID) -> None:
        super().__init__(f"{alert_id} is no open alert; `outbox alerts list` shows them")
        self.alert_id = alert_id


class ClosesByItself(ValueError):
    """The alert ends with its cause, and before that it is true. Nothing was changed."""

    def __init__(self, alert_id: UUID, type_: str) -> None:
        super().__init__(
            f"{alert_id} ({type_}) closes by itself once its cause is gone; "
            "docs/alerts.md tells what to do about it"
        )
        self.alert_id, self.type = alert_id, type_


def closed_by_a_person(type_: str, subject: str) -> bool:
    """Whether nothing that the program sees tells that the cause of such an alert is gone."""
    return (
        type_ in DUPLICATES
        or type_ == "payload_rejected"
        or (type_, subject) == ("credential_failure", PLATFORM_KEYS)
    )


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
        found = await queries_reviews.review_of_alert(conn, alert_id)
        if found is None or not found.open or found.type not in DUPLICATES:
            raise UnknownReview(alert_id)
        closed = await _close(conn, alert_id, found, actor_id, note, now, action=ACTION)
    if not closed:
        raise Forbidden(what="closing a review of duplicates", who_may=WHO_MAY)


async def close_alert(
    conn: AsyncConnection[Any], alert_id: UUID, *, actor_id: UUID, note: str, now: datetime
) -> None:
    """Close an alert that only people can. Raises `UnknownAlert`, `ClosesByItself` or `Forbidden`.

    Owns its transaction, as `close`; a refusal for want of rights is audited. If its cause is still
    there, the next failure opens another one.
    """
    async with conn.transaction():
        found = await queries_reviews.review_of_alert(conn, alert_id)
        if found is None or not found.open:
            raise UnknownAlert(alert_id)
        if not closed_by_a_person(found.type, found.subject):
            raise ClosesByItself(alert_id, found.type)
        action = ACTION if found.type in DUPLICATES else ALERT_ACTION
        closed = await _close(conn, alert_id, found, actor_id, note, now, action=action)
    if not closed:
        who = WHO_MAY if found.organisation_id is not None else WHO_MAY_FOR_ALL
        raise Forbidden(what="closing this alert", who_may=who)


async def _close(  # noqa: PLR0913, PLR0917 - who closes what, how and when
    conn: AsyncConnection[Any],
    alert_id: UUID,
    found: Reviewed,
    actor_id: UUID,
    note: str,
    now: datetime,
    *,
    action: str,
) -> bool:
    """Close it, or note that the actor may not. Raises `UnknownAlert` if somebody was faster."""
    role = await _role(conn, actor_id, found.organisation_id)
    if role is not None and not await queries_reviews.close_review(
        conn, alert_id, actor_id=actor_id, note=note, now=now
    ):
        raise UnknownAlert(alert_id)
    entry = AuditEntry(
        at=now,
        action=action,
        actor_id=actor_id,
        actor_role=role or audit.NO_ROLE,
        organisation_id=found.organisation_id,
        mentor_id=found.mentor_id,
        subject={"alert_id": str(alert_id)},
        reason=note,
        after={"outcome": "refused" if role is None else "done"},
    )
    await audit.record(conn, entry)
    return role is not None


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


async def _role(
    conn: AsyncConnection[Any], actor_id: UUID, organisation_id: UUID | None
) -> str | None:
    """The role that lets the actor close it; what is the operators' takes one over everybody."""
    if organisation_id is not None:
        here = await queries_access.widest_role(conn, actor_id, organisation_id=organisation_id)
        if here in OF_ONE_ORGANISATION:
            return here
    anywhere = await queries_access.widest_role(conn, actor_id, organisation_id=None)
    return anywhere if anywhere in OF_ALL else None
