"""What one event's pushes came to, counted in recipients and never in devices (RES-3). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID


class DispatchOutcome(StrEnum):
    """The event as a whole."""

    ALL_SUCCESS = "all_success"
    PARTIAL_FAILURE = "partial_failure"
    ALL_FAILED = "all_failed"
    NO_DEVICES = "no_devices"
    """There were recipients, and none of them had a usable address."""
    NO_RECIPIENTS = "no_recipients"


@dataclass(frozen=True, slots=True)
class RecipientOutcome:
    """One recipient's push: `status` is a final word of `notification_groups.status`.

    `error_class` and `attempts` tell about a failure; what cannot be known counts as one.
    """

    recipient_id: UUID
    status: str
    error_class: str | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class DispatchFailure:
    """One recipient who was not reached."""

    recipient_id: UUID
    error_class: str
    attempts: int


@dataclass(frozen=True, slots=True)
class DispatchResult:
    """What became of one event about one mentor."""

    event: str
    mentor_id: UUID
    outcome: DispatchOutcome
    recipient_count: int = 0
    success_count: int = 0
    failure_count: int = 0
    no_token_count: int = 0
    failures: tuple[DispatchFailure, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The result under the names clients know."""
        return {
            "event": self.event,
            "mentorId": str(self.mentor_id),
            "outcome": self.outcome.value,
            "recipientCount": self.recipient_count,
            "successCount": self.success_count,
            "failureCount": self.failure_count,
            "noTokenCount": self.no_token_count,
            "failures": [
                {
                    "recipientId": str(failure.recipient_id),
                    "errorClass": failure.error_class,
                    "attempts": failure.attempts,
                }
                for failure in self.failures
            ],
        }


def dispatch_result(
    event: str, mentor_id: UUID, outcomes: Iterable[RecipientOutcome]
) -> DispatchResult:
    """Count the `outcomes` of one event; each recipient appears once.

    A recipient without a usable address is neither success nor failure. Somebody whose notice was
    cancelled in time is counted as a recipient and nothing else.
    """
    every = tuple(outcomes)
    successes = sum(each.status == "delivered" for each in every)
    no_token = sum(each.status == "no_token" for each in every)
    failures = tuple(
        DispatchFailure(each.recipient_id, each.error_class or each.status, each.attempts)
        for each in every
        if each.status in {"failed", "unknown", "expired"}
    )
    return DispatchResult(
        event=event,
        mentor_id=mentor_id,
        outcome=_outcome(len(every), successes, len(failures)),
        recipient_count=len(every),
        success_count=successes,
        failure_count=len(failures),
        no_token_count=no_token,
        failures=failures,
    )


def _outcome(recipients: int, successes: int, failures: int) -> DispatchOutcome:
    if not recipients:
        return DispatchOutcome.NO_RECIPIENTS
    if failures:
        return DispatchOutcome.PARTIAL_FAILURE if successes else DispatchOutcome.ALL_FAILED
    return DispatchOutcome.ALL_SUCCESS if successes else DispatchOutcome.NO_DEVICES
