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


class VisibilityChangedV1(Message, topic="visibility.changed"):
    """A mentor's visibility has version `version`; what yesterday's database published."""

    mentor_id: UUID
    version: int


class VisibilityChanged(VisibilityChangedV1, topic="visibility.changed", version=2):
    """A mentor's visibility has version `version`; the database publishes it with the change.

    `reason` is the code that travels to the portal, too: `certificate_lapsed`, `paused_manual` and
    so on. What a person wrote stays in the mentor's row.
    """

    reason: str | None = None


class SweepRequested(Message, topic="sweep.requested"):
    """A change of certificates made somebody of this organisation lapse (PAU-7)."""

    organisation_id: UUID


class VisibilityReadBack(Message, topic="visibility.read_back"):
    """Look whether the portal shows a mentor's `version` or newer; it only accepted it before."""

    mentor_id: UUID
    version: int


class VisibilityRaise(Message, topic="visibility.raise"):
    """The portal has `returned_version`, which is ahead of ours or contradicts it: go above it."""

    mentor_id: UUID
    returned_version: int
    reason: str


class VisibilityAhead(Message, topic="visibility.ahead"):
    """Reconciliation saw the portal hold `returned_version`, which we never made as it is there."""

    mentor_id: UUID
    returned_version: int
    cause: str


class VisibilityInSync(Message, topic="visibility.in_sync"):
    """Reconciliation saw the portal agree with `version`; `alerts` are the types still open."""

    mentor_id: UUID
    version: int
    alerts: tuple[str, ...] = ()


class MentorStatusChanged(Message, topic="mentor.status_changed"):
    """A mentor was paused or returned by hand, or by a renewal; the database publishes it.

    `change_id` is the row of his status history. What the sweep pauses is not told this way.
    """

    mentor_id: UUID
    change_id: int


class SyncUnconfirmed(Message, topic="alert.sync_unconfirmed"):
    """A mentor's visibility is unconfirmed so long that its alert became more severe (ALR-3)."""

    mentor_id: UUID


class AlertOpenV1(Message, topic="alert.open"):
    """Open an alert, unless one of this type and subject is open.

    Without an organisation the mentor's is meant; with neither, the alert is for the operators.
    """

    type: str
    organisation_id: UUID | None
    mentor_id: UUID | None
    subject: str
    severity: str = "warning"


class AlertOpen(AlertOpenV1, topic="alert.open", version=2):
    """The same with a `hint`: one line of ours about what to mend first, never a foreign text."""

    hint: str | None = None


class AlertClose(Message, topic="alert.close"):
    """Close the open alert of this type and subject, if there is one.

    Without an organisation the mentor's is meant, as in `AlertOpen`.
    """

    type: str
    organisation_id: UUID | None
    subject: str
    mentor_id: UUID | None = None
