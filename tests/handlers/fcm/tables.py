"""A small world of the application's tables, for the push handler's tests on a real database."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from handlers.commands import PushRequested
from outbox.handler import Attempt, Settled

if TYPE_CHECKING:
    import psycopg

    from outbox.outcome import AnyOutcome

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
EXPIRY = date(2026, 3, 20)


@dataclass(frozen=True)
class Fact:
    """One item of a group and the rows that go with it."""

    mentor: UUID
    certificate: UUID
    notification: UUID
    reminder: UUID


@dataclass
class Tables:
    """Rows made in a few words; every statement commits."""

    conn: psycopg.Connection[tuple[Any, ...]]
    organisation: UUID = field(default_factory=uuid4)

    def __post_init__(self) -> None:
        self.do("insert into organisations (id, code, name) values (%s, 'HLF', 'HLF')",
                self.organisation)  # fmt: skip

    def mentor(self, *, status: str = "active") -> UUID:
        mentor = uuid4()
        self.do("insert into peer_mentors (id, organisation_id, status) values (%s, %s, %s)",
                mentor, self.organisation, status)  # fmt: skip
        return mentor

    def certificate(self, mentor: UUID, expiry: date = EXPIRY) -> UUID:
        certificate = uuid4()
        self.do(
            "insert into certifications (id, mentor_id, certificate_type, expiry_date)"
            " values (%s, %s, 'peer_mentor', %s)",
            certificate, mentor, expiry,
        )  # fmt: skip
        return certificate

    def device(self, user: UUID, address: str, *, seen: timedelta = timedelta(days=1)) -> UUID:
        device = uuid4()
        self.do(
            "insert into device_tokens (id, user_id, address, last_seen_at)"
            " values (%s, %s, %s, %s)",
            device, user, address, NOON - seen,
        )  # fmt: skip
        return device

    def group(self, recipient: UUID, kind: str) -> UUID:
        group = uuid4()
        self.do(
            "insert into notification_groups (id, organisation_id, recipient_id, kind, dedup_key)"
            " values (%s, %s, %s, %s, %s)",
            group, self.organisation, recipient, kind, f"key:{group}",
        )  # fmt: skip
        return group

    def reminded(
        self, group: UUID, recipient: UUID, *, position: int = 0, tier: str = "30"
    ) -> Fact:
        """One reminder of a new mentor: certificate, claim, log row, inbox row and item."""
        mentor = self.mentor()
        certificate = self.certificate(mentor)
        fact = Fact(mentor, certificate, uuid4(), uuid4())
        audience = "mentor" if recipient == mentor else "coordinator"
        self.do(
            "insert into cert_expiry_reminders (id, organisation_id, audience, mentor_id,"
            " certification_id, certificate_type, threshold_day, threshold_tier,"
            " certification_expiry_date, notification_window_start, notification_window_date)"
            " values (%s, %s, %s, %s, %s, 'peer_mentor', %s, %s, %s, %s, %s)",
            fact.reminder, self.organisation, audience, mentor, certificate, int(tier), tier,
            EXPIRY, EXPIRY, EXPIRY,
        )  # fmt: skip
        self.do(
            "insert into cert_notification_log (organisation_id, reminder_id, audience,"
            " recipient_id, mentor_id, cert_id, certificate_type, threshold_days, threshold_tier,"
            " certification_expiry_date, notification_window_date, dispatch_group_id)"
            " values (%s, %s, %s, %s, %s, %s, 'peer_mentor', %s, %s, %s, %s, %s)",
            self.organisation, fact.reminder, audience, recipient, mentor, certificate, int(tier),
            tier, EXPIRY, EXPIRY, group,
        )  # fmt: skip
        self.inbox(fact.notification, group, recipient, mentor, "cert_expiry_reminder")
        self.do(
            "insert into notification_items (group_id, position, mentor_id, kind, tier,"
            " certificate_type, certification_id, certification_expiry_date, reminder_id,"
            " notification_id) values (%s, %s, %s, 'cert_expiry_reminder', %s, 'peer_mentor',"
            " %s, %s, %s, %s)",
            group, position, mentor, tier, certificate, EXPIRY, fact.reminder, fact.notification,
        )  # fmt: skip
        return fact

    def paused(self, group: UUID, recipient: UUID, mentor: UUID) -> None:
        """One notice that a mentor was paused."""
        notification = uuid4()
        self.inbox(notification, group, recipient, mentor, "mentor_paused")
        self.do(
            "insert into notification_items (group_id, position, mentor_id, kind, reason,"
            " notification_id) values (%s, 0, %s, 'mentor_paused', 'certificate_lapsed', %s)",
            group, mentor, notification,
        )  # fmt: skip

    def inbox(self, row: UUID, group: UUID, recipient: UUID, mentor: UUID, kind: str) -> None:
        self.do(
            "insert into notifications (id, organisation_id, recipient_id, kind, mentor_id, title,"
            " body, deep_link, group_id, idempotency_key)"
            " values (%s, %s, %s, %s, %s, 't', 'b', %s, %s, %s)",
            row, self.organisation, recipient, kind, mentor,
            f"peermentor://app/v1/coordinator/mentors/{mentor}?ctx=pause", group, str(row),
        )  # fmt: skip

    def push_of(self, recipient: UUID, *, tier: str = "30") -> tuple[UUID, Fact]:
        """A group of one reminder."""
        group = self.group(recipient, "cert_expiry_reminder")
        return group, self.reminded(group, recipient, tier=tier)

    def do(self, statement: str, *parameters: object) -> None:
        self.conn.execute(statement.encode(), parameters)

    def row(self, statement: str, *parameters: object) -> tuple[Any, ...]:
        found = self.conn.execute(statement.encode(), parameters).fetchall()
        assert len(found) == 1
        return found[0]

    def group_row(self, group: UUID) -> tuple[Any, ...]:
        return self.row(
            "select status, attempts, error_class, settled_at from notification_groups"
            " where id = %s",
            group,
        )

    def log_row(self, fact: Fact) -> tuple[Any, ...]:
        return self.row(
            "select status, attempts, run_attempts, error_class, date_sent, settled_at"
            " from cert_notification_log where reminder_id = %s",
            fact.reminder,
        )

    def inbox_status(self, fact: Fact) -> str:
        return str(self.row("select status from notifications where id = %s", fact.notification)[0])


def request(group: UUID, *, delivery: int = 1, number: int = 1) -> tuple[PushRequested, Attempt]:
    """A message and the attempt at it."""
    attempt = Attempt(
        number=number, delivery_id=delivery, message_id=delivery, handler="fcm",
        topic="push.requested", key=None, sequence=None, correlation_id=None, published_at=NOON,
        now=NOON, deadline=NOON + timedelta(seconds=40),
    )  # fmt: skip
    return PushRequested(group_id=group), attempt


def settled(group: UUID, outcome: AnyOutcome, *, prepared: object = None) -> Settled:
    """One settlement of a group's push at noon."""
    message, attempt = request(group)
    return Settled(
        delivery_id=attempt.delivery_id, message_id=attempt.message_id, handler="fcm",
        topic=attempt.topic, key=None, sequence=None, correlation_id=None, attempt=1,
        message=message, outcome=outcome, at=NOON, final=True, prepared=prepared,
    )  # fmt: skip
