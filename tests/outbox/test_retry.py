"""The retry policy, which decides without clock, database or dice."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox import (
    CredentialsRejected,
    Dead,
    DestinationHeld,
    Exponential,
    Ladder,
    OutcomeUnknown,
    PermanentFailure,
    Retry,
    RetryPolicy,
    TransientFailure,
    Unknown,
)
from outbox.retry import after_failure, again

SECOND = timedelta(seconds=1)
PLAIN = RetryPolicy(attempts_max=3, backoff=Ladder((10, 60)), jitter=0.0)


def decided(
    error: Exception,
    *,
    attempt: int = 1,
    age: timedelta = SECOND,
    policy: RetryPolicy = PLAIN,
    jitter: float = 0.0,
) -> Retry | Dead | Unknown:
    return after_failure(error, attempt=attempt, age=age, policy=policy, jitter=jitter)


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
        backoff=Ladder((10,)), jitter=0.0, permanent=(KeyError,), ambiguous=(ConnectionError,)
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
