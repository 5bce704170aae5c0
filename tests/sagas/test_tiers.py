"""Tiers are bands of civil days: exactly one or none, whatever the hour and the season."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.texts import Audience
from sagas.policy import DEFAULTS, Cadence, Policy
from sagas.tiers import LAPSED, Tier, days_until, local_date, tier_of, window_date, window_start

OSLO = ZoneInfo("Europe/Oslo")
MENTOR = DEFAULTS[Audience.MENTOR]
COORDINATOR = DEFAULTS[Audience.COORDINATOR]
FOUR = Policy(Audience.COORDINATOR, (60, 30, 14, 7))


@pytest.mark.parametrize(
    ("days", "mentor", "coordinator", "four"),
    [
        (61, None, None, None),
        (60, "60", None, "60"),
        (31, "60", None, "60"),
        (30, "30", "30", "30"),
        (15, "30", "30", "30"),
        (14, "30", "14", "14"),
        (8, "30", "14", "14"),
        (7, "7", "7", "7"),
        (1, "7", "7", "7"),
        (0, "7", "7", "7"),
        (-1, "lapsed", "lapsed", "lapsed"),
        (-400, "lapsed", "lapsed", "lapsed"),
    ],
)
def test_the_worked_table_of_tiers(
    days: int, mentor: str | None, coordinator: str | None, four: str | None
) -> None:
    """T2.1, TIER-2, TIER-4, for the defaults and for a list with a coordinator's 60-day notice."""
    for policy, expected in ((MENTOR, mentor), (COORDINATOR, coordinator), (FOUR, four)):
        tier = tier_of(days, policy)
        assert (tier.label if tier else None) == expected


policies = st.builds(
    lambda days, lapsed: Policy(Audience.MENTOR, tuple(sorted(days, reverse=True)), lapsed=lapsed),
    st.sets(st.integers(1, 365), min_size=1, max_size=8),
    st.booleans(),
)


@given(days=st.integers(-500, 500), policy=policies)
def test_every_day_is_in_exactly_one_tier_or_none(days: int, policy: Policy) -> None:
    """TIER-3, said a second way: the bands are disjoint and cover what they should."""
    ends = (*policy.thresholds, -1)
    bands = [
        Tier(upper)
        for upper, lower in zip(policy.thresholds, ends[1:], strict=True)
        if lower < days <= upper
    ]
    if days < 0 and policy.lapsed:
        bands.append(LAPSED)

    assert len(bands) <= 1
    assert tier_of(days, policy) == (bands[0] if bands else None)


@given(
    expiry=st.dates(date(2020, 1, 1), date(2035, 1, 1)),
    ahead=st.integers(-400, 400),
    policy=policies,
)
def test_a_window_is_open_while_its_tier_is_and_closed_the_day_before(
    expiry: date, ahead: int, policy: Policy
) -> None:
    """The window's first day is the first day of its tier."""
    tier = tier_of(ahead, policy)
    if tier is None:
        return
    opened = window_start(expiry, tier)
    assert tier_of((expiry - opened).days, policy) == tier
    assert opened <= expiry - timedelta(days=ahead)
    assert tier_of((expiry - opened).days + 1, policy) != tier


@pytest.mark.parametrize(
    ("now", "days", "label"),
    [
        (datetime(2026, 3, 2, 0, 5, tzinfo=UTC), 30, "30"),
        (datetime(2026, 3, 29, 0, 5, tzinfo=UTC), 3, "7"),
        (datetime(2026, 4, 1, 21, 59, tzinfo=UTC), 0, "7"),
        (datetime(2026, 4, 1, 23, 30, tzinfo=UTC), -1, "lapsed"),
    ],
)
def test_the_civil_date_of_oslo_decides(now: datetime, days: int, label: str) -> None:
    """TIER-9: across the night summer time begins, and after midnight in Oslo but not in UTC."""
    expiry = date(2026, 4, 1)
    assert days_until(expiry, now, OSLO) == days
    tier = tier_of(days, MENTOR)
    assert tier is not None
    assert tier.label == label


def test_a_day_of_23_or_25_hours_is_one_day() -> None:
    """TIER-1: hours divided by 24 would say 0 across the spring night, 1 within the autumn day."""
    spring = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)  # 00:30 on the 29th in Oslo, 23 hours long
    assert days_until(date(2026, 3, 30), spring, OSLO) == 1
    autumn = datetime(2026, 10, 24, 22, 30, tzinfo=UTC)  # 00:30 on the 25th, 25 hours long
    assert days_until(date(2026, 10, 25), autumn + timedelta(hours=24), OSLO) == 0
    assert days_until(date(2026, 10, 25), autumn + timedelta(hours=25), OSLO) == -1


def test_a_timestamp_expiry_counts_as_its_own_civil_date() -> None:
    """TIER-1: 23:30 UTC on the 1st is the 2nd in Oslo."""
    expiry = datetime(2026, 6, 1, 23, 30, tzinfo=UTC)
    assert days_until(expiry, datetime(2026, 6, 1, 10, 0, tzinfo=UTC), OSLO) == 1


def test_a_naive_now_is_refused() -> None:
    """A time without a zone has no civil date."""
    with pytest.raises(ValueError, match=r"^now has no time zone; give an aware datetime$"):
        local_date(datetime(2026, 1, 1), OSLO)  # noqa: DTZ001


def test_window_starts_of_the_example() -> None:
    """TIER-8 and TIER-9."""
    expiry = date(2026, 4, 1)
    assert window_start(expiry, Tier(30)) == date(2026, 3, 2)
    assert window_start(expiry, LAPSED) == date(2026, 4, 2)


def test_the_cadence_decides_the_date_in_the_key() -> None:
    """DED-2: once per tier the date does not depend on the night; per run date it is the night."""
    expiry, tonight = date(2026, 4, 1), date(2026, 3, 10)
    once = window_date(expiry, Tier(30), cadence=Cadence.ONCE_PER_TIER, today=tonight)
    nightly = window_date(expiry, Tier(30), cadence=Cadence.PER_RUN_DATE, today=tonight)
    assert (once, nightly) == (date(2026, 3, 2), tonight)


def test_tiers_sort_most_urgent_first() -> None:
    """Digests list what is worst first."""
    assert sorted([Tier(60), LAPSED, Tier(7)]) == [LAPSED, Tier(7), Tier(60)]
