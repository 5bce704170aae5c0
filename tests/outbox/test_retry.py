"""The retry policy, which decides without clock, database or dice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox import (
    CredentialsRejected,
    Dead,
    DestinationHeld,
    Effect,
    Exponential,
    Ladder,
    OutcomeUnknown,
    PermanentFailure,
    Probe,
    Rate,
    Retry,
    RetryPolicy,
    Rule,
    Terms,
    Then,
    TransientFailure,
    Unknown,
    parse_retry_after,
)
from outbox.errors import HandlerInvalid, PolicyInvalid
from outbox.retry import after_failure, again, held_by, is_used_up, reason_of
from tests.outbox.shop import mailer

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND = timedelta(seconds=1)
UNTYPED: Any = 60
PLAIN = RetryPolicy(attempts_max=3, backoff=Ladder((10, 60)), jitter=0.0)


def decided(
    error: Exception,
    *,
    attempt: int = 1,
    age: timedelta = SECOND,
    policy: RetryPolicy = PLAIN,
    jitter: float = 0.0,
    ambiguous: bool = False,
) -> Retry | Dead | Unknown:
    return after_failure(
        error, attempt=attempt, age=age, policy=policy, jitter=jitter, ambiguous=ambiguous
    )


def test_a_transient_failure_waits_the_rung_of_its_attempt() -> None:
    failure = TransientFailure("busy")

    assert decided(failure) == Retry(10 * SECOND, "busy")
    assert decided(failure, attempt=2) == Retry(60 * SECOND, "busy")


def test_the_last_rung_repeats() -> None:
    assert Ladder((10, 60)).after(99) == 60 * SECOND


def test_the_last_attempt_is_the_last() -> None:
    assert decided(TransientFailure("busy"), attempt=3) == Dead("attempts_exhausted:busy")


def test_without_a_limit_there_is_always_another_attempt() -> None:
    policy = RetryPolicy(attempts_max=None, backoff=Ladder((10,)), jitter=0.0)

    assert decided(TransientFailure("busy"), attempt=100_000, policy=policy) == Retry(
        10 * SECOND, "busy"
    )


def test_retry_after_is_a_floor_and_not_a_ceiling() -> None:
    assert decided(TransientFailure("busy", 45 * SECOND)) == Retry(45 * SECOND, "busy")
    assert decided(TransientFailure("busy", 3 * SECOND)) == Retry(10 * SECOND, "busy")


def test_jitter_is_added_and_never_subtracted() -> None:
    policy = RetryPolicy(backoff=Ladder((10,)), jitter=0.5)

    assert decided(TransientFailure("busy"), policy=policy, jitter=0.0) == Retry(
        10 * SECOND, "busy"
    )
    assert decided(TransientFailure("busy"), policy=policy, jitter=0.5) == Retry(
        12.5 * SECOND, "busy"
    )


def test_a_wait_that_would_end_beyond_the_age_is_not_begun() -> None:
    policy = RetryPolicy(backoff=Ladder((10,)), jitter=0.0, age_max=60 * SECOND)

    assert decided(TransientFailure("busy"), age=50 * SECOND, policy=policy) == Retry(
        10 * SECOND, "busy"
    )
    assert decided(TransientFailure("busy"), age=51 * SECOND, policy=policy) == Dead(
        "age_exceeded:busy"
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermanentFailure("refused"), Dead("refused")),
        (OutcomeUnknown("reset"), Unknown("reset")),
        (DestinationHeld("slow_down", 90 * SECOND), Retry(90 * SECOND, "slow_down", spent=False)),
        (CredentialsRejected("expired"), Retry(0 * SECOND, "expired", spent=False)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_a_handler_raises_has_its_outcome(
    error: Exception, expected: Retry | Dead | Unknown
) -> None:
    """Also on the last attempt: none of them asks how often it was tried."""
    assert decided(error) == expected
    assert decided(error, attempt=3) == expected


def test_foreign_errors_go_by_the_table_and_never_carry_their_text() -> None:
    """A foreign text quotes values; only the type's name is kept."""
    policy = RetryPolicy(
        backoff=Ladder((10,)),
        jitter=0.0,
        table=(Rule(KeyError, Then.DEAD), Rule(ConnectionError, Then.UNKNOWN)),
    )

    assert decided(KeyError("someone@example.org"), policy=policy) == Dead("KeyError")
    assert decided(ConnectionResetError("someone@example.org"), policy=policy) == Unknown(
        "ConnectionResetError"
    )
    assert decided(ValueError("someone@example.org"), policy=policy) == Retry(
        10 * SECOND, "ValueError"
    )


def test_exponential_backoff_doubles_up_to_its_cap() -> None:
    backoff = Exponential(first=2 * SECOND, factor=2.0, cap=60 * SECOND)

    assert [backoff.after(n) / SECOND for n in range(1, 8)] == [2, 4, 8, 16, 32, 60, 60]


@given(failures=st.integers(1, 2**31 - 1), factor=st.floats(1.0, 1e6))
def test_no_number_of_failures_is_too_much_for_a_backoff(failures: int, factor: float) -> None:
    """A handler that retries for ever must not stop at the forty-seventh failure by overflow."""
    backoff = Exponential(factor=factor)

    assert backoff.first <= backoff.after(failures) <= backoff.cap


@given(
    attempt=st.integers(1, 500),
    age=st.integers(0, 10**8),
    jitter=st.floats(0, 1, exclude_max=True),
    hint=st.none() | st.integers(0, 7_200),
)
def test_a_retry_never_comes_before_backoff_or_hint(
    attempt: int, age: int, jitter: float, hint: int | None
) -> None:
    policy = RetryPolicy(attempts_max=400, jitter=0.2, age_max=timedelta(days=365))
    after = None if hint is None else hint * SECOND

    found = again(
        "busy", hint=after, attempt=attempt, age=age * SECOND, policy=policy, jitter=jitter
    )

    if isinstance(found, Retry):
        floor = max(policy.backoff.after(attempt), after or 0 * SECOND)
        assert found.after is not None
        assert floor <= found.after <= floor * 1.2
        assert attempt < 400


def test_a_policy_describes_itself_in_one_line() -> None:
    line = RetryPolicy(attempts_max=None, age_max=timedelta(hours=2)).describe()

    assert "no limit" in line
    assert "2:00:00" in line
    assert "\n" not in line


class Bounced(PermanentFailure):
    """An error of somebody's adapter."""


class Throttled(TransientFailure):
    """Another, that has terms of its own."""


def test_the_line_of_the_most_specific_type_counts() -> None:
    """And none that is about all errors overrules what the engine's own say of themselves."""
    seldom = Terms(attempts_max=2, backoff=Ladder((5,)), jitter=0.0)
    policy = RetryPolicy(
        jitter=0.0,
        table=(
            Rule(Exception, Then.DEAD),
            Rule(OSError, Then.RETRY, seldom),
            Rule(Throttled, Then.RETRY, seldom),
            Rule(LookupError, Then.HOLD, hold=7 * SECOND),
        ),
    )

    assert decided(ValueError(), policy=policy) == Dead("ValueError")
    assert decided(ConnectionResetError(), policy=policy) == Retry(
        5 * SECOND, "ConnectionResetError"
    )
    assert decided(OSError(), attempt=2, policy=policy) == Dead("attempts_exhausted:OSError")
    assert decided(Throttled("busy"), policy=policy) == Retry(5 * SECOND, "busy")
    assert decided(TransientFailure("busy"), policy=policy) == Retry(2 * SECOND, "busy")
    assert decided(Bounced("gone"), policy=policy) == Dead("gone")
    held = held_by(KeyError("someone@example.org"), policy)
    assert isinstance(held, DestinationHeld)
    assert decided(held, policy=policy) == Retry(7 * SECOND, "KeyError", spent=False)
    assert held_by(ValueError(), policy).args == ()


def test_what_no_line_names_has_a_default() -> None:
    """And where nobody can say how far a call had come, the default is to say so."""
    dead = RetryPolicy(otherwise=Then.DEAD)

    assert decided(ValueError(), policy=dead) == Dead("ValueError")
    assert decided(ValueError(), ambiguous=True) == Unknown("ValueError")
    assert decided(TransientFailure("busy"), ambiguous=True) == Retry(10 * SECOND, "busy")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: RetryPolicy(attempts_max=0), "at least 1"),
        (lambda: RetryPolicy(jitter=1.5), "a share from 0 to 1"),
        (lambda: RetryPolicy(age_max=0 * SECOND), "above zero"),
        (lambda: RetryPolicy(otherwise=Then.HOLD), "otherwise is hold"),
        (lambda: RetryPolicy(table=(Rule(KeyError, Then.DEAD),) * 2), "KeyError has two rules"),
        (lambda: Rule(Bounced, Then.RETRY), "says by itself"),
        (
            lambda: Rule(KeyError, Then.DEAD, Terms()),
            "KeyError has terms and becomes dead; only retry has",
        ),
        (lambda: Rule(KeyError, Then.HOLD, hold=0 * SECOND), "above zero"),
        (lambda: Ladder(()), "at least one wait"),
        (lambda: Exponential(factor=0.5), "factor at least 1"),
        (lambda: Exponential(first=0 * SECOND), "first is 0:00:00, it must be above zero"),
        (lambda: Exponential(first=2 * SECOND, cap=SECOND), "cap not below first"),
        (lambda: Ladder((1, -1)), "none below zero"),
        (lambda: Rate(0), "above zero"),
        (lambda: Exponential(cap=UNTYPED), r"cap is 60 \(int\), it must be a timedelta above zero"),
        (lambda: Probe(UNTYPED, asks_max=0), "asks_max is 0, it must be at least 1"),
    ],
)
def test_a_policy_that_cannot_work_is_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(PolicyInvalid, match=says):
        make()


def test_a_policy_is_a_value() -> None:
    with pytest.raises(AttributeError):
        PLAIN.attempts_max = 9  # type: ignore[misc]


@pytest.mark.parametrize(
    ("effect", "policy", "says"),
    [
        (Effect.IDEMPOTENT, RetryPolicy(otherwise=Then.UNKNOWN), "only AMBIGUOUS"),
        (Effect.IDEMPOTENT, RetryPolicy(table=(Rule(OSError, Then.UNKNOWN),)), "only AMBIGUOUS"),
        (Effect.AMBIGUOUS, RetryPolicy(otherwise=Then.RETRY), "may have left"),
        (
            Effect.AMBIGUOUS,
            RetryPolicy(table=(Rule(TimeoutError, Then.RETRY),)),
            "may have arrived",
        ),
    ],
)
def test_a_handler_whose_policy_it_cannot_keep_is_refused(
    effect: Effect, policy: RetryPolicy, says: str
) -> None:
    with pytest.raises(HandlerInvalid, match=says):
        mailer(effect=effect, retry=policy)


def test_a_policy_prints_its_table() -> None:
    policy = RetryPolicy(
        table=(Rule(KeyError, Then.DEAD), Rule(OSError, Then.HOLD, hold=9 * SECOND))
    )

    assert list(policy.lines(ambiguous=True)) == [
        "KeyError: dead",
        "OSError: hold for 0:00:09",
        "anything else: unknown",
    ]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("999999999", 86_400),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: int | None) -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    assert parse_retry_after(header, now=now) == (None if seconds is None else seconds * SECOND)


def test_the_edges_of_what_can_work_are_allowed() -> None:
    """One attempt, no wait, a wait that does not grow, and jitter as long as the wait itself."""
    assert Terms(attempts_max=1).attempts_max == 1
    assert Ladder((0.0, 0.5)).after(1) == 0 * SECOND
    assert Exponential(first=SECOND, factor=1, cap=SECOND).after(3) == SECOND
    assert Terms(jitter=1).jitter == 1


def test_the_lines_of_a_policy_say_all_of_it() -> None:
    few = Terms(attempts_max=3, backoff=Ladder((5,)), jitter=0.1)
    steps = "Ladder(seconds=(5,)), jitter up to 10%"

    assert few.describe() == f"at most 3 attempts, {steps}"
    for_ever = Terms(None, Ladder((5,)), 0.1, timedelta(hours=2))
    assert for_ever.describe() == f"no limit, {steps}, given up after 2:00:00"
    assert Rule(OSError, Then.RETRY).describe() == "OSError: retry"
    assert Rule(OSError, Then.RETRY, few).describe() == f"OSError: retry ({few.describe()})"
    assert list(RetryPolicy().lines(ambiguous=False)) == ["anything else: retry"]
    assert list(RetryPolicy(otherwise=Then.DEAD).lines(ambiguous=True)) == ["anything else: dead"]


def test_what_is_wrong_with_a_policy_is_said_in_whole_sentences() -> None:
    twice = (Rule(KeyError, Then.DEAD), Rule(OSError, Then.DEAD)) * 2

    with pytest.raises(
        PolicyInvalid, match=r"^KeyError, OSError has two rules; each type has one$"
    ):
        RetryPolicy(table=twice)
    expected = (
        "otherwise is hold; what nobody expected says nothing of all others: "
        "give retry, dead or unknown"
    )
    with pytest.raises(PolicyInvalid, match=f"^{expected}$"):
        RetryPolicy(otherwise=Then.HOLD)
    assert RetryPolicy(otherwise=Then.UNKNOWN).problem(ambiguous=False) == (
        "only AMBIGUOUS handlers have unknown outcomes; let the policy say retry or dead"
    )
    assert RetryPolicy(otherwise=Then.RETRY).problem(ambiguous=True) == (
        "otherwise is retry, but what nobody named may have left: "
        "leave it out, and name the errors that say that nothing left"
    )
    assert RetryPolicy().problem(ambiguous=False) is None
    assert RetryPolicy().problem(ambiguous=True) is None


def test_nobody_is_ambiguous_who_does_not_say_so() -> None:
    found = after_failure(ValueError(), attempt=1, age=SECOND, policy=PLAIN, jitter=0.0)

    assert found == Retry(10 * SECOND, "ValueError")


def test_a_hold_keeps_what_it_came_from() -> None:
    """The log shows where it was raised."""
    error = KeyError("someone@example.org")
    held = held_by(error, RetryPolicy(table=(Rule(KeyError, Then.HOLD),)))

    assert held.__cause__ is error


def test_what_is_given_up_is_known_as_such() -> None:
    """RTY-1: with or without a reason behind it."""
    terms = Terms(attempts_max=1, backoff=Ladder((5,)), jitter=0.0, age_max=3 * SECOND)
    used = again("", hint=None, attempt=1, age=SECOND, policy=terms, jitter=0.0)
    old = again("", hint=None, attempt=0, age=SECOND, policy=terms, jitter=0.0)

    assert (used, old) == (Dead("attempts_exhausted"), Dead("age_exceeded"))
    for reason in ("attempts_exhausted", "age_exceeded", "attempts_exhausted:busy:twice"):
        assert is_used_up(reason)
    for reason in ("busy", "busy:age_exceeded", ""):
        assert not is_used_up(reason)


def test_only_our_own_reasons_are_believed_to_be_codes() -> None:
    """A foreign error's `reason` is text: this one's quotes what could not be decoded."""
    foreign = UnicodeDecodeError("utf-8", b"x", 0, 1, "someone@example.org")

    assert reason_of(foreign) == "UnicodeDecodeError"
    assert reason_of(PolicyInvalid("attempts_max is 0")) == "PolicyInvalid"
    assert reason_of(TransientFailure("busy")) == "busy"
