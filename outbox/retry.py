"""When a failed attempt is tried again: one table per handler, without clock or dice.

The engine is the only owner of retries (P7): no client, transport or handler repeats a call by
itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from outbox.errors import (
    CredentialsRejected,
    DestinationHeld,
    OutboxError,
    OutcomeUnknown,
    PermanentFailure,
    TransientFailure,
)
from outbox.outcome import Dead, Retry, Unknown

if TYPE_CHECKING:
    from enum import Enum

EXHAUSTED = "attempts_exhausted"
TOO_OLD = "age_exceeded"


@dataclass(frozen=True, slots=True)
class Exponential:
    """`first * factor ** (n - 1)`, at most `cap`; n counts failures from 1."""

    first: timedelta = timedelta(seconds=2)
    factor: float = 2.0
    cap: timedelta = timedelta(hours=1)

    def after(self, failures: int) -> timedelta:
        """The wait after failure `failures` (1 or more), before jitter."""
        try:
            seconds = self.first.total_seconds() * self.factor ** (failures - 1)
        except OverflowError:  # beyond what a float holds, every cap is reached
            return self.cap
        return timedelta(seconds=min(seconds, self.cap.total_seconds()))


@dataclass(frozen=True, slots=True)
class Ladder:
    """Fixed waits in seconds, the last one repeated."""

    seconds: tuple[float, ...]

    def after(self, failures: int) -> timedelta:
        """The wait after failure `failures` (1 or more), before jitter."""
        return timedelta(seconds=self.seconds[min(failures, len(self.seconds)) - 1])


Backoff: TypeAlias = Exponential | Ladder


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What becomes of an exception: how often, how long, and which types are not retried at all.

    `attempts_max` None means for ever; `age_max` counts from publication. `jitter` in [0, 1] is the
    most that is added to a wait, as a share of it; it is never subtracted, so a floor stays a
    floor. `permanent` and `ambiguous` name foreign exception types; everything else foreign is
    transient.
    """

    attempts_max: int | None = 10
    backoff: Backoff = Exponential()
    jitter: float = 0.2
    age_max: timedelta | None = None
    permanent: tuple[type[Exception], ...] = ()
    ambiguous: tuple[type[Exception], ...] = ()

    def describe(self) -> str:
        """One line for `outbox explain`."""
        attempts = (
            "no limit" if self.attempts_max is None else f"at most {self.attempts_max} attempts"
        )
        age = "" if self.age_max is None else f", given up after {self.age_max}"
        return f"{attempts}, {self.backoff}, jitter up to {self.jitter:.0%}{age}"


def after_failure(  # noqa: PLR0911 - one line per kind of failure
    error: Exception, *, attempt: int, age: timedelta, policy: RetryPolicy, jitter: float
) -> Retry | Dead | Unknown:
    """Decide what becomes of a failed attempt. No clock, no database, no dice.

    `attempt` is 1 for the first try and counts the failed one; `age` is the time since publication;
    `jitter` is in [0, 1).
    """
    match error:
        case PermanentFailure():
            return Dead(error.reason)
        case OutcomeUnknown():
            return Unknown(error.reason)
        case DestinationHeld():
            return Retry(error.retry_after, error.reason, spent=False)
        case CredentialsRejected():
            return Retry(timedelta(0), error.reason, spent=False)
        case _ if isinstance(error, policy.permanent):
            return Dead(reason_of(error))
        case _ if isinstance(error, policy.ambiguous):
            return Unknown(reason_of(error))
        case _:
            hint = error.retry_after if isinstance(error, TransientFailure) else None
            return again(
                reason_of(error), hint=hint, attempt=attempt, age=age, policy=policy, jitter=jitter
            )


def again(  # noqa: PLR0913 - the facts of one decision, all named
    reason: str,
    *,
    hint: timedelta | None,
    attempt: int,
    age: timedelta,
    policy: RetryPolicy,
    jitter: float,
) -> Retry | Dead:
    """Retry after the policy's backoff (at least `hint`), or Dead when used up."""
    if policy.attempts_max is not None and attempt >= policy.attempts_max:
        return Dead(EXHAUSTED if not reason else f"{EXHAUSTED}:{reason}")
    wait = max(policy.backoff.after(attempt), hint or timedelta(0))
    wait += wait * policy.jitter * jitter
    if policy.age_max is not None and age + wait > policy.age_max:
        return Dead(TOO_OLD if not reason else f"{TOO_OLD}:{reason}")
    return Retry(wait, reason)


def reason_of(error: BaseException) -> str:
    """A code that is safe to store: our own reason, else the type's name, never its text."""
    reason: str | Enum | None = (
        getattr(error, "reason", None) if isinstance(error, OutboxError) else None
    )
    return str(reason) if reason else type(error).__name__
