"""Which certificate of a mentor counts, and how far back a lapse is news."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from itertools import permutations
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.texts import Audience
from sagas.eligibility import CertificateRow, MentorStatus, eligible, lapsed_in_reach, reach
from sagas.policy import Policy
from sagas.tiers import tier_of

TODAY = date(2026, 3, 2)
ROW = CertificateRow(
    id=UUID(int=1),
    mentor_id=UUID(int=10),
    certificate_type="basic",
    issued_on=date(2024, 1, 1),
    expiry_date=date(2026, 4, 1),
    organisation_id=UUID(int=100),
)


def test_only_the_latest_certificate_of_a_type_counts_in_any_order() -> None:
    """ELG-1 with its ties: expiry, then issue, then id, or two runs would claim different keys."""
    older = replace(ROW, id=UUID(int=2), expiry_date=date(2025, 1, 1))
    issued_earlier = replace(ROW, id=UUID(int=0), issued_on=None)
    larger_id = replace(ROW, id=UUID(int=3))
    other_type = replace(older, id=UUID(int=4), certificate_type="first_aid")
    for rows in permutations((ROW, older, issued_earlier, larger_id, other_type)):
        assert {row.id for row in eligible(rows).current} == {ROW.id, other_type.id}


def test_revoked_certificates_and_inactive_mentors_are_left_out() -> None:
    """ELG-1, ELG-2: a revoked newer row does not hide the older one; paused mentors stay in."""
    revoked = replace(ROW, id=UUID(int=2), expiry_date=date(2027, 1, 1), revoked=True)
    paused = replace(ROW, id=UUID(int=3), mentor_id=UUID(int=11), mentor_status=MentorStatus.PAUSED)
    inactive = replace(
        ROW, id=UUID(int=4), mentor_id=UUID(int=12), mentor_status=MentorStatus.INACTIVE
    )
    found = eligible((revoked, ROW, paused, inactive))
    assert {row.id for row in found.current} == {ROW.id, paused.id}
    assert found.unusable == ()


@pytest.mark.parametrize(
    "broken",
    [
        replace(ROW, id=UUID(int=2), expiry_date=None),
        replace(ROW, id=UUID(int=2), mentor_id=None),
        replace(ROW, id=UUID(int=2), organisation_id=None),
    ],
    ids=["expiry", "mentor", "organisation"],
)
def test_a_row_without_its_essentials_is_unusable_and_hides_nothing(broken: CertificateRow) -> None:
    """ELG-4."""
    found = eligible((broken, ROW))
    assert found.current == (ROW,)
    assert found.unusable == (broken,)


@pytest.mark.parametrize(
    ("lapsed_days_ago", "go_live_on", "expected"),
    [
        (0, None, True),
        (30, None, True),
        (31, None, False),
        (-1, None, False),
        (5, TODAY - timedelta(days=5), True),
        (6, TODAY - timedelta(days=5), False),
    ],
)
def test_a_lapse_is_news_for_a_month_and_not_from_before_go_live(
    lapsed_days_ago: int, go_live_on: date | None, *, expected: bool
) -> None:
    """ELG-3; a certificate lapses on the day after its last valid one."""
    expiry = TODAY - timedelta(days=lapsed_days_ago + 1)
    assert lapsed_in_reach(expiry, today=TODAY, lookback_days=30, go_live_on=go_live_on) is expected


@given(
    ahead=st.integers(-80, 80),
    go_live=st.none() | st.integers(-60, 20),
    lookback=st.integers(0, 60),
    lapsed=st.booleans(),
)
def test_the_reach_of_a_run_is_exactly_what_has_a_tier(
    ahead: int, go_live: int | None, lookback: int, *, lapsed: bool
) -> None:
    """The range the database is asked for and the two rules it stands for say the same."""
    policy = Policy(Audience.MENTOR, (60, 30, 7), lapsed=lapsed, lapsed_lookback_days=lookback)
    go_live_on = None if go_live is None else TODAY + timedelta(days=go_live)
    expiry = TODAY + timedelta(days=ahead)

    tier = tier_of(ahead, policy)
    fires = tier is not None and (
        not tier.lapsed
        or lapsed_in_reach(expiry, today=TODAY, lookback_days=lookback, go_live_on=go_live_on)
    )
    first, last = reach(policy, today=TODAY, go_live_on=go_live_on)

    assert (first <= expiry <= last) is fires


@pytest.mark.parametrize(
    ("lookback", "go_live_in", "first"),
    [(30, None, -31), (0, None, -1), (30, -5, -6), (30, 3, 0), (30, 0, -1)],
)
def test_the_first_date_a_run_looks_at(lookback: int, go_live_in: int | None, first: int) -> None:
    """ELG-3, by hand: the lapse is the day after, and go-live in the future leaves today."""
    policy = Policy(Audience.MENTOR, (60, 30, 7), lapsed_lookback_days=lookback)
    go_live_on = None if go_live_in is None else TODAY + timedelta(days=go_live_in)

    found = reach(policy, today=TODAY, go_live_on=go_live_on)

    assert found == (TODAY + timedelta(days=first), TODAY + timedelta(days=60))
