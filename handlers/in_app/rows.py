"""What one inbox row says and opens: a pure step from an item to its row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from handlers import links
from handlers.texts import LAPSED, Audience, Kind, Text, item_text

if TYPE_CHECKING:
    from handlers.in_app.queries import ItemRow

_REMINDERS = frozenset({Kind.CERT_EXPIRY_REMINDER, Kind.CERT_LAPSED})


@dataclass(frozen=True, slots=True)
class InboxRow:
    """One row of a recipient's inbox, ready to write."""

    id: UUID
    group_id: UUID
    organisation_id: UUID
    recipient_id: UUID
    position: int
    kind: Kind
    tier: str | None
    mentor_id: UUID
    text: Text
    deep_link: str
    prompt_id: UUID | None


def inbox_row(item: ItemRow) -> InboxRow:
    """Return the row of one item; its id is derived, so that a repeat is the same row.

    Raises ValueError if the item's kind is none a person can be told.
    """
    kind = Kind(item.kind)
    if kind is Kind.COORDINATOR_DIGEST:  # a digest is a push over items, never an item
        problem = "a digest is no item"
        raise ValueError(problem)
    own = item.recipient_id == item.mentor_id
    audience = Audience.MENTOR if own else Audience.COORDINATOR
    row_id = uuid5(item.group_id, str(item.position))
    return InboxRow(
        id=row_id,
        group_id=item.group_id,
        organisation_id=item.organisation_id,
        recipient_id=item.recipient_id,
        position=item.position,
        kind=kind,
        tier=item.tier,
        mentor_id=item.mentor_id,
        text=item_text(
            kind,
            audience=audience,
            tier=item.tier,
            reason=item.reason,
            language=item.language,
        ),
        deep_link=deep_link(kind, item, audience=audience, notification_id=row_id),
        prompt_id=item.prompt_id,
    )


def deep_link(kind: Kind, item: ItemRow, *, audience: Audience, notification_id: UUID) -> str:
    """Return what a tap on the row opens; the courses' root where nothing better can be built."""
    link = _wished(kind, item, audience=audience, notification_id=notification_id)
    return link if links.published(link) else links.courses(notification_id)


def _wished(kind: Kind, item: ItemRow, *, audience: Audience, notification_id: UUID) -> str:
    if kind is Kind.SCENARIO_PROMPT and item.prompt_id is not None:
        return links.prompt(item.prompt_id)
    if audience is Audience.MENTOR:
        tier = LAPSED if kind is Kind.MENTOR_PAUSED else item.tier
        return links.enrolment(
            certificate_type=item.certificate_type, tier=tier, notification_id=notification_id
        )
    if kind is Kind.SYNC_ALERT:
        context = links.CONTEXT_SYNC
    else:
        context = links.CONTEXT_CERT_EXPIRY if kind in _REMINDERS else links.CONTEXT_PAUSE
    return links.coordinator_mentor(item.mentor_id, context=context)
