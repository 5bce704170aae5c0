"""A transactional outbox and event-driven saga engine on PostgreSQL."""

from outbox.app import App
from outbox.breaker import Breaker
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
from outbox.findings import Finding, Severity
from outbox.handler import (
    AfterDead,
    Answer,
    Attempt,
    DestinationChange,
    Effect,
    Handler,
    Order,
    Probe,
    Settled,
    UnknownPolicy,
)
from outbox.message import Message
from outbox.outcome import (
    AnyOutcome,
    Dead,
    Done,
    Outcome,
    Redriven,
    Retry,
    Superseded,
    Suppressed,
    Unknown,
    Withdrawn,
)
from outbox.publication import Publication
from outbox.publish import (
    PublishReceipt,
    apublish,
    apublish_many,
    publish,
    publish_many,
)
from outbox.rate import Rate
from outbox.relay import Relay
from outbox.retention import Retention
from outbox.retry import Exponential, Ladder, RetryPolicy, Rule, Terms, Then
from outbox.retry_after import parse_retry_after
from outbox.saga import (
    Compensate,
    Decision,
    DeliveryReport,
    Flow,
    OnMissing,
    Phase,
    Progress,
    Report,
    Saga,
    SagaState,
    SkipStep,
    Steps,
    TimedOut,
    Timer,
)

__all__ = [
    "AfterDead", "Answer", "AnyOutcome", "App", "Attempt", "Breaker", "Clock", "Compensate",
    "CredentialsRejected", "Dead", "Decision", "DeliveryReport", "DestinationChange",
    "DestinationHeld", "Done", "Effect", "Exponential", "Finding", "Flow", "Handler", "Ladder",
    "Message", "OnMissing", "Order", "OutboxError", "Outcome", "OutcomeUnknown", "PermanentFailure",
    "Phase", "Probe", "Progress", "Publication", "PublishError", "PublishReceipt", "Rate",
    "Redriven", "Relay", "Report", "Retention", "Retry", "RetryPolicy", "Rule", "Saga", "SagaState",
    "Settled", "Severity", "SkipStep", "Steps", "Superseded", "Suppressed", "SystemClock", "Terms",
    "Then", "TimedOut", "Timer", "TransientFailure", "Unknown", "UnknownPolicy", "VirtualClock",
    "Withdrawn", "apublish", "apublish_many", "parse_retry_after", "publish", "publish_many",
]  # fmt: skip
