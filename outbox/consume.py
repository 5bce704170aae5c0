"""One attempt: decode, call under a time-out, translate whatever was raised into an outcome."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from outbox.call_timer import CallTimer
from outbox.errors import AttemptError, OutcomeUnknown, TransientFailure
from outbox.handler import Attempt, Effect
from outbox.outcome import (
    REASON_UNFIT,
    Dead,
    Done,
    Outcome,
    Retry,
    Suppressed,
    Unknown,
    code_of,
)
from outbox.retry import after_failure, again, held_by
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
    from outbox.spans import Spans

log = structlog.get_logger("outbox")

TIMEOUT = "timeout"
CANCELLED = "cancelled"
PAYLOAD_UNREADABLE = "payload_unreadable"

OUT_OF_MEMORY = 1
"""The exit code of a process that a handler left without memory."""

VERSION_WAIT = timedelta(seconds=30)
"""How long a delivery of a version this code cannot read is left to a newer relay."""


def is_ours(error: asyncio.CancelledError) -> bool:
    """Whether the running task is told to stop; else what a handler waited for was cancelled."""
    del error
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


class VersionUnreadable(Exception):
    """This code does not know the message's version; a newer relay will."""


def decode(app: App, row: Claimed | Overtaken) -> Message:
    """The message of `row`. Raises `VersionUnreadable`, or pydantic's error on a lying payload."""
    read = app.reader(row.topic, row.version)
    if read is None:
        raise VersionUnreadable
    return read(row.payload)


@dataclass(frozen=True, slots=True)
class Consumer:
    """Runs attempts of one handler. Randomness and time are given to it."""

    app: App
    handler: Handler
    clock: Clock
    random: Random
    spans: Spans | None = None

    def attempt(self, row: Claimed, *, prepared: Any = None) -> Attempt:
        """What the handler is told about this try."""
        return Attempt(  # by place: made once for every delivery
            row.attempts + 1, row.id, row.message_id, self.handler.name, row.topic, row.message_key,
            row.sequence, row.correlation_id, row.created_at, self.clock.now(), row.lease_until,
            row.resends > 0, prepared,
        )  # fmt: skip

    def unreadable(self, row: Claimed, error: ValidationError) -> Ended:
        """A payload that its own class refuses will never be readable: a dead letter."""
        message = UnreadableMessage.model_construct()
        token = _token(row)
        return Ended(row, token, message, self.attempt(row), Dead(PAYLOAD_UNREADABLE), error)

    @property
    def _ambiguous(self) -> bool:
        return self.handler.effect is Effect.AMBIGUOUS

    def timer(self) -> CallTimer:
        """The time-out for the calls that the running task makes."""
        return CallTimer(self.handler.timeout.total_seconds())

    async def call(
        self, row: Claimed, message: Message, attempt: Attempt, timer: CallTimer, *args: Conn
    ) -> Ended:
        """Make one call; never raises but for cancellation."""
        started = time.monotonic()
        continue_trace(row.traceparent)
        span = None if self.spans is None else self.spans.attempt(row, self.handler.name)
        error: Exception | None = None
        outcome: Outcome
        try:
            with timer:
                outcome = await self.handler.call(message, attempt, *args)
            if type(outcome) is not Done:
                outcome = self._checked(outcome, attempt)
        except TimeoutError as raised:
            error = self._timed_out(raised)
            outcome = self._after(error, attempt)
        except asyncio.CancelledError as raised:
            if is_ours(raised):
                if span is not None:
                    span.end(None)
                raise
            error = OutcomeUnknown(CANCELLED) if self._ambiguous else TransientFailure(CANCELLED)
            error.__cause__ = raised
            outcome = self._after(error, attempt)
        except Exception as raised:  # noqa: BLE001 - here an attempt ends
            self._end_if_fatal(row, raised)
            error = held_by(raised, self.handler.retry)
            outcome = self._after(error, attempt)
        if span is not None:
            span.end(outcome, error)
        duration_ms = int((time.monotonic() - started) * 1000)
        return Ended(row, _token(row), message, attempt, outcome, error, duration_ms, called=True)

    def failed_before_call(
        self, row: Claimed, message: Message, attempt: Attempt, error: Exception
    ) -> Ended:
        """What becomes of an attempt whose preparation failed: nothing had left."""
        self._end_if_fatal(row, error)
        error = held_by(error, self.handler.retry)
        outcome = after_failure(
            error, attempt=attempt.number, age=self.clock.now() - row.created_at,
            policy=self.handler.retry, jitter=self.random.random(),
        )  # fmt: skip
        if isinstance(outcome, Unknown):
            again_ = self._checked(Retry(reason=outcome.reason), attempt)
            return Ended(row, _token(row), message, attempt, again_, error)
        return Ended(row, _token(row), message, attempt, outcome, error)

    def ended(self, row: Claimed, message: Message, attempt: Attempt, outcome: Outcome) -> Ended:
        """An attempt settled without a call, as `prepare` decided."""
        return Ended(row, _token(row), message, attempt, self._checked(outcome, attempt))

    def _end_if_fatal(self, row: Claimed, error: Exception) -> None:
        """End this process if it is out of memory, unless the policy has a rule for that.

        Every call that it makes from now on may fail for want of memory, and spend an attempt for
        no fault of the message. Dead it harms nobody: what it held is tried alone. It ends at once,
        as killed, since an orderly end needs memory too.
        """
        if not isinstance(error, MemoryError) or self.handler.retry.rule_for(type(error)):
            return
        with contextlib.suppress(MemoryError):
            log.critical("process.out_of_memory", handler=self.handler.name, delivery_id=row.id)
        os._exit(OUT_OF_MEMORY)

    def _timed_out(self, raised: TimeoutError) -> Exception:
        """What a call that took too long is, unless the policy has a rule for it."""
        if self._ambiguous:
            error: Exception = OutcomeUnknown(TIMEOUT)
        elif any(rule.error is TimeoutError for rule in self.handler.retry.table):
            return held_by(raised, self.handler.retry)
        else:
            error = TransientFailure(TIMEOUT)
        error.__cause__ = raised
        return error

    def _after(self, error: Exception, attempt: Attempt) -> Retry | Dead | Unknown:
        policy = self.handler.retry
        if isinstance(error, AttemptError) and error.reason == REASON_UNFIT:
            self._tell_unfit()
        if not isinstance(error, AttemptError) and policy.rule_for(type(error)) is None:
            log.warning(
                "handler.error_unnamed", handler=self.handler.name, error_type=type(error).__name__
            )
        if isinstance(error, OutcomeUnknown) and not self._ambiguous:
            error = TransientFailure(error.reason)  # what tolerates a repeat is simply repeated
        return after_failure(
            error, attempt=attempt.number, age=self.clock.now() - attempt.published_at,
            policy=policy, jitter=self.random.random(), ambiguous=self._ambiguous,
        )  # fmt: skip

    def _checked(self, outcome: Outcome, attempt: Attempt) -> Outcome:
        if isinstance(outcome, Unknown) and self.handler.effect is not Effect.AMBIGUOUS:
            outcome = Retry(reason=outcome.reason)  # as above: only AMBIGUOUS has unknowns to keep
        if (
            isinstance(outcome, Suppressed | Retry | Dead | Unknown)
            and code_of(outcome.reason) != outcome.reason
        ):
            self._tell_unfit()
            outcome = replace(outcome, reason=REASON_UNFIT)
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

    def _tell_unfit(self) -> None:
        """A reason is a code: a sentence may quote a value, which is not stored."""
        log.error(
            "handler.reason_unfit", handler=self.handler.name,
            cure="give a reason of letters, digits, '_', '.', ':' and '-' such as upstream_busy",
        )  # fmt: skip


def _token(row: Claimed) -> UUID:
    assert row.lease_token is not None, "a claimed row carries its token"
    return row.lease_token
