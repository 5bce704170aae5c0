"""One attempt: decode, call under a time-out, translate whatever was raised into an outcome."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from outbox.errors import AttemptError, OutcomeUnknown, TransientFailure
from outbox.handler import Attempt, Effect
from outbox.outcome import Dead, Done, Outcome, Retry, Suppressed, Unknown
from outbox.retry import after_failure, again
from outbox.saga.reports import UnreadableMessage
from outbox.settlement import Ended
from outbox.tracing import continue_trace

if TYPE_CHECKING:
    from random import Random
    from uuid import UUID

    from pydantic import ValidationError

    from outbox.app import App
    from outbox.clock import Clock
    from outbox.handler import Handler
    from outbox.message import Message
    from outbox.queries import Claimed, Conn, Overtaken

log = structlog.get_logger("outbox")

TIMEOUT = "timeout"
PAYLOAD_UNREADABLE = "payload_unreadable"

VERSION_WAIT = timedelta(seconds=30)
"""How long a delivery of a version this code cannot read is left to a newer relay."""


class VersionUnreadable(Exception):
    """This code does not know the message's version; a newer relay will."""


def decode(app: App, row: Claimed | Overtaken) -> Message:
    """The message of `row`. Raises `VersionUnreadable`, or pydantic's error on a lying payload."""
    message_class = app.message_class(row.topic, row.version)
    if message_class is None:
        raise VersionUnreadable
    return message_class.model_validate_json(row.payload)


@dataclass(frozen=True, slots=True)
class Consumer:
    """Runs attempts of one handler. Randomness and time are given to it."""

    app: App
    handler: Handler
    clock: Clock
    random: Random

    def attempt(self, row: Claimed, *, prepared: Any = None) -> Attempt:
        """What the handler is told about this try."""
        return Attempt(
            number=row.attempts + 1, delivery_id=row.id, message_id=row.message_id,
            handler=self.handler.name, topic=row.topic, key=row.message_key, sequence=row.sequence,
            correlation_id=row.correlation_id, published_at=row.created_at, now=self.clock.now(),
            deadline=row.lease_until, resend=row.resends > 0, prepared=prepared,
        )  # fmt: skip

    def unreadable(self, row: Claimed, error: ValidationError) -> Ended:
        """A payload that its own class refuses will never be readable: a dead letter."""
        message = UnreadableMessage.model_construct()
        token = _token(row)
        return Ended(row, token, message, self.attempt(row), Dead(PAYLOAD_UNREADABLE), error)

    async def call(self, row: Claimed, message: Message, attempt: Attempt, *args: Conn) -> Ended:
        """Make one call; never raises but for cancellation."""
        started = time.monotonic()
        continue_trace(row.traceparent)
        error: Exception | None = None
        outcome: Outcome
        try:
            async with asyncio.timeout(self.handler.timeout.total_seconds()):
                outcome = await self.handler.call(message, attempt, *args)
            outcome = self._checked(outcome, attempt)
        except TimeoutError as raised:
            ambiguous = self.handler.effect is Effect.AMBIGUOUS
            error = OutcomeUnknown(TIMEOUT) if ambiguous else TransientFailure(TIMEOUT)
            error.__cause__ = raised
            outcome = self._after(error, attempt)
        except Exception as raised:  # noqa: BLE001 - here an attempt ends
            error = raised
            outcome = self._after(raised, attempt)
        duration_ms = int((time.monotonic() - started) * 1000)
        return Ended(row, _token(row), message, attempt, outcome, error, duration_ms)

    def failed_before_call(
        self, row: Claimed, message: Message, attempt: Attempt, error: Exception
    ) -> Ended:
        """What becomes of an attempt whose preparation failed: nothing had left."""
        outcome = after_failure(
            error, attempt=attempt.number, age=self.clock.now() - row.created_at,
            policy=self.handler.retry, jitter=self.random.random(),
        )  # fmt: skip
        return Ended(row, _token(row), message, attempt, outcome, error)

    def ended(self, row: Claimed, message: Message, attempt: Attempt, outcome: Outcome) -> Ended:
        """An attempt settled without a call, as `prepare` decided."""
        return Ended(row, _token(row), message, attempt, self._checked(outcome, attempt))

    def _after(self, error: Exception, attempt: Attempt) -> Retry | Dead | Unknown:
        known = isinstance(error, (AttemptError, *self.handler.retry.permanent))
        if self.handler.effect is Effect.AMBIGUOUS and not known:
            return Unknown(type(error).__name__)  # nobody can say how far the call had come
        if isinstance(error, OutcomeUnknown) and self.handler.effect is not Effect.AMBIGUOUS:
            error = TransientFailure(error.reason)  # what tolerates a repeat is simply repeated
        return after_failure(
            error, attempt=attempt.number, age=self.clock.now() - attempt.published_at,
            policy=self.handler.retry, jitter=self.random.random(),
        )  # fmt: skip

    def _checked(self, outcome: Outcome, attempt: Attempt) -> Outcome:
        if isinstance(outcome, Unknown) and self.handler.effect is not Effect.AMBIGUOUS:
            outcome = Retry(reason=outcome.reason)  # as above: only AMBIGUOUS has unknowns to keep
        match outcome:
            case Retry(after=after, reason=reason, spent=True):
                return again(
                    reason, hint=after, attempt=attempt.number,
                    age=self.clock.now() - attempt.published_at, policy=self.handler.retry,
                    jitter=self.random.random(),
                )  # fmt: skip
            case Done() | Suppressed() | Retry() | Dead() | Unknown():
                return outcome
            case _:
                log.error(
                    "handler.returned_no_outcome",
                    handler=self.handler.name,
                    got=type(outcome).__name__,
                )
                return Dead("handler_returned_no_outcome")


def _token(row: Claimed) -> UUID:
    assert row.lease_token is not None, "a claimed row carries its token"
    return row.lease_token
