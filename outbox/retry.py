"""When a failed attempt is tried again: one table per handler, without clock or dice.

The engine is the only owner of retries (P7): no client, transport or handler repeats a call by
itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from outbox.durations import wrong_with
from outbox.errors import (
    AttemptError,
    CredentialsRejected,
    DestinationHeld,
    OutboxError,
    OutcomeUnknown,
    PermanentFailure,
    PolicyInvalid,
    TransientFailure,
)
from outbox.outcome import Dead, Retry, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from enum import Enum

EXHAUSTED = "attempts_exhausted"
TOO_OLD = "age_exceeded"


@dataclass(frozen=True, slots=True)
class Exponential:
    """`first * factor ** (n - 1)`, at most `cap`; n counts failures from 1."""

    first: timedelta = timedelta(seconds=2)
    factor: float = 2.0
    cap: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        """Refuse waits that shrink."""
        for term in ("first", "cap"):
            if (wrong := wrong_with(getattr(self, term))) is not None:
                raise PolicyInvalid(f"{self}: {term} {wrong}")
        if self.factor < 1 or self.cap < self.first:
            raise PolicyInvalid(f"{self}: factor at least 1, cap not below first")

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

    def __post_init__(self) -> None:
        """Refuse a ladder without rungs, and waits below zero."""
        if not self.seconds or min(self.seconds) < 0:
            raise PolicyInvalid(f"{self}: give at least one wait, none below zero")

    def after(self, failures: int) -> timedelta:
        """The wait after failure `failures` (1 or more), before jitter."""
        return timedelta(seconds=self.seconds[min(failures, len(self.seconds)) - 1])


Backoff: TypeAlias = Exponential | Ladder


class Then(StrEnum):
    """What becomes of an attempt that raised."""

    RETRY = "retry"
    DEAD = "dead"
    UNKNOWN = "unknown"
    """The call may have happened: only AMBIGUOUS handlers have this to say."""
    HOLD = "hold"
    """The whole destination waits, and no attempt is spent."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How often and how long something is tried again.

    `attempts_max` None means for ever; `age_max` counts from publication. `jitter` in [0, 1] is the
    most that is added to a wait, as a share of it; it is never subtracted, so a floor stays a
    floor. Raises `PolicyInvalid`.
    """

    attempts_max: int | None = 10
    backoff: Backoff = Exponential()
    jitter: float = 0.2
    age_max: timedelta | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.attempts_max is not None and self.attempts_max < 1:
            raise PolicyInvalid(
                f"attempts_max is {self.attempts_max}; at least 1, or None for ever"
            )
        if not 0 <= self.jitter <= 1:
            raise PolicyInvalid(f"jitter is {self.jitter}; it is a share from 0 to 1")
        if self.age_max is not None and (wrong := wrong_with(self.age_max)) is not None:
            raise PolicyInvalid(f"age_max {wrong}; leave it out to try again for ever")

    def describe(self) -> str:
        """One line for `outbox explain`."""
        attempts = (
            "no limit" if self.attempts_max is None else f"at most {self.attempts_max} attempts"
        )
        age = "" if self.age_max is None else f", given up after {self.age_max}"
        return f"{attempts}, {self.backoff}, jitter up to {self.jitter:.0%}{age}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table: what `error`, or a subclass without a line of its own, becomes.

    `terms` are those of RETRY where they differ from the policy's; `hold` is how long HOLD holds.
    """

    error: type[Exception]
    then: Then
    terms: Terms | None = None
    hold: timedelta = timedelta(seconds=30)

    def __post_init__(self) -> None:
        """Refuse a line that means nothing."""
        if issubclass(self.error, AttemptError) and not issubclass(self.error, TransientFailure):
            raise PolicyInvalid(
                f"{self.error.__name__} says by itself what becomes of it; give it no rule"
            )
        if self.terms is not None and self.then is not Then.RETRY:
            raise PolicyInvalid(
                f"{self.error.__name__} has terms and becomes {self.then}; "
                f"only {Then.RETRY} has terms"
            )
        if (wrong := wrong_with(self.hold)) is not None:
            raise PolicyInvalid(f"{self.error.__name__}: hold {wrong}")

    def describe(self) -> str:
        """One line for `outbox explain`."""
        facts = {Then.HOLD: f" for {self.hold}", Then.RETRY: ""}.get(self.then, "")
        own = "" if self.terms is None else f" ({self.terms.describe()})"
        return f"{self.error.__name__}: {self.then}{facts}{own}"


@dataclass(frozen=True, slots=True)
class RetryPolicy(Terms):
    """What becomes of whatever a handler raises: its table, and the terms of trying again.

    The line of the most specific type counts. The engine's own errors say by themselves what they
    are. `otherwise` is for what no line names: None means RETRY, and for an AMBIGUOUS handler
    UNKNOWN, since nobody can say how far the call had come. It is logged.
    """

    table: tuple[Rule, ...] = ()
    otherwise: Then | None = None

    def __post_init__(self) -> None:
        """Refuse two lines for one type."""
        Terms.__post_init__(self)
        named = [rule.error for rule in self.table]
        twice = sorted({error.__name__ for error in named if named.count(error) > 1})
        if twice:
            raise PolicyInvalid(f"{', '.join(twice)} has two rules; each type has one")
        if self.otherwise is Then.HOLD:
            raise PolicyInvalid(
                "otherwise is hold; what nobody expected says nothing of all others: "
                "give retry, dead or unknown"
            )

    def rule_for(self, kind: type[BaseException]) -> Rule | None:
        """The most specific line that names `kind`; none for the engine's own, but for theirs."""
        for base in kind.__mro__:
            for rule in self.table:
                if rule.error is base:
                    return rule
            if base is AttemptError:
                return None
        return None

    def problem(self, *, ambiguous: bool) -> str | None:
        """Why an AMBIGUOUS handler, or any other, cannot go by this policy; None if it can."""
        says_unknown = Then.UNKNOWN in {self.otherwise, *(rule.then for rule in self.table)}
        if says_unknown and not ambiguous:
            return "only AMBIGUOUS handlers have unknown outcomes; let the policy say retry or dead"
        if not ambiguous:
            return None
        if self.otherwise not in {None, Then.UNKNOWN}:
            return (
                f"otherwise is {self.otherwise}, but what nobody named may have left: "
                "leave it out, and name the errors that say that nothing left"
            )
        rule = next((rule for rule in self.table if rule.error is TimeoutError), None)
        if rule is not None and rule.then is not Then.UNKNOWN:
            return f"TimeoutError is {rule.then}, but a call that was cut off may have arrived"
        return None

    def lines(self, *, ambiguous: bool) -> Iterator[str]:
        """The table for people, line by line."""
        for rule in self.table:
            yield rule.describe()
        usual = Then.UNKNOWN if ambiguous else Then.RETRY
        yield f"anything else: {self.otherwise or usual}"


def after_failure(  # noqa: PLR0911, PLR0913 - one line per kind of failure, the facts all named
    error: Exception,
    *,
    attempt: int,
    age: timedelta,
    policy: RetryPolicy,
    jitter: float,
    ambiguous: bool = False,
) -> Retry | Dead | Unknown:
    """Decide what becomes of a failed attempt. No clock, no database, no dice.

    `attempt` is 1 for the first try and counts the failed one; `age` is the time since publication;
    `jitter` is in [0, 1). `ambiguous`: the call may have happened, unless the error tells.
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
        case _:
            pass
    rule = policy.rule_for(type(error))
    match _then(error, rule, policy, ambiguous=ambiguous):
        case Then.DEAD:
            return Dead(reason_of(error))
        case Then.UNKNOWN:
            return Unknown(reason_of(error))
        case _:
            return again(
                reason_of(error),
                hint=error.retry_after if isinstance(error, TransientFailure) else None,
                attempt=attempt,
                age=age,
                policy=policy if rule is None or rule.terms is None else rule.terms,
                jitter=jitter,
            )


def _then(error: Exception, rule: Rule | None, policy: RetryPolicy, *, ambiguous: bool) -> Then:
    if rule is not None:
        return rule.then
    if isinstance(error, TransientFailure):
        return Then.RETRY
    return policy.otherwise or (Then.UNKNOWN if ambiguous else Then.RETRY)


def held_by(error: Exception, policy: RetryPolicy) -> Exception:
    """The hold that the table makes of `error`; else `error` itself."""
    rule = policy.rule_for(type(error))
    if rule is None or rule.then is not Then.HOLD:
        return error
    held = DestinationHeld(reason_of(error), rule.hold)
    held.__cause__ = error
    return held


def again(  # noqa: PLR0913 - the facts of one decision, all named
    reason: str,
    *,
    hint: timedelta | None,
    attempt: int,
    age: timedelta,
    policy: Terms,
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


def is_used_up(reason: str) -> bool:
    """Whether a delivery was given up because its attempts or its time were used up."""
    return reason.partition(":")[0] in {EXHAUSTED, TOO_OLD}


def reason_of(error: BaseException) -> str:
    """A code that is safe to store: our own reason, else the type's name, never its text."""
    reason: str | Enum | None = (
        getattr(error, "reason", None) if isinstance(error, OutboxError) else None
    )
    return str(reason) if reason else type(error).__name__
