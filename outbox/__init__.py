"""A transactional outbox and event-driven saga engine on PostgreSQL."""

from outbox.app import App
from outbox.clock import Clock, SystemClock, VirtualClock
from outbox.errors import (
    CredentialsRejected,
    DestinationHeld,
    OutboxError,
    OutcomeUnknown,
    PermanentFailure,
    PublishError,
    TransientFailure,
)
from outbox.handler import (
    Attempt,
    DestinationChange,
    Effect,
    Handler,
    Order,
    Settled,
    UnknownPolicy,
)
from outbox.message import Message
from outbox.outcome import (
    AnyOutcome,
    Dead,
    Done,
    Outcome,
    Retry,
    Superseded,
    Suppressed,
    Unknown,
    Withdrawn,
)
from outbox.publish import (
    Publication,
    PublishReceipt,
    apublish,
    apublish_many,
    publish,
    publish_many,
)
from outbox.relay import Relay
from outbox.retry import Exponential, Ladder, RetryPolicy
from outbox.saga import Decision, DeliveryReport, Report, Saga, SagaState, TimedOut, Timer

__all__ = [
    "AnyOutcome", "App", "Attempt", "Clock", "CredentialsRejected", "Dead", "Decision",
    "DeliveryReport", "DestinationChange", "DestinationHeld", "Done", "Effect", "Exponential",
    "Handler", "Ladder", "Message", "Order", "OutboxError", "Outcome", "OutcomeUnknown",
    "PermanentFailure", "Publication", "PublishError", "PublishReceipt", "Relay", "Report", "Retry",
    "RetryPolicy", "Saga", "SagaState", "Settled", "Superseded", "Suppressed", "SystemClock",
    "TimedOut", "Timer", "TransientFailure", "Unknown", "UnknownPolicy", "VirtualClock",
    "Withdrawn", "apublish", "apublish_many", "publish", "publish_many",
]  # fmt: skip
