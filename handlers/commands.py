"""The commands and events that handlers take: all that sagas may import of this package."""

from __future__ import annotations

from uuid import UUID

from outbox import Message


class NotificationRequested(Message, topic="notification.requested"):
    """Write the inbox rows of one group (one recipient) and ask for its push."""

    group_id: UUID


class PushRequested(Message, topic="push.requested"):
    """Push one group to the devices of its recipient."""

    group_id: UUID


class VisibilityChanged(Message, topic="visibility.changed"):
    """A mentor's visibility has version `version`; the database publishes it with the change."""

    mentor_id: UUID
    version: int


class VisibilityReadBack(Message, topic="visibility.read_back"):
    """Look whether the portal shows a mentor's `version` or newer; it only accepted it before."""

    mentor_id: UUID
    version: int


class VisibilityRaise(Message, topic="visibility.raise"):
    """The portal has `returned_version`, which is ahead of ours or contradicts it: go above it."""

    mentor_id: UUID
    returned_version: int
    reason: str


class AlertOpen(Message, topic="alert.open"):
    """Open an alert, unless one of this type and subject is open.

    Without an organisation the mentor's is meant; with neither, the alert is for the operators.
    """

    type: str
    organisation_id: UUID | None
    mentor_id: UUID | None
    subject: str
    severity: str = "warning"


class AlertClose(Message, topic="alert.close"):
    """Close the open alert of this type and subject, if there is one.

    Without an organisation the mentor's is meant, as in `AlertOpen`.
    """

    type: str
    organisation_id: UUID | None
    subject: str
    mentor_id: UUID | None = None
