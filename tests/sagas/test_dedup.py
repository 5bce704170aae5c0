"""DED-3, DED-7, DED-8: what counts as telling somebody twice."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from sagas.dedup import is_double, lost, people_of, pushes_of, without_recent
from sagas.queries import FiredReminder, Reminder
from sagas.recipients import Resolution, Step
from sagas.tiers import Tier

OSLO = ZoneInfo("Europe/Oslo")
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
THIS_RUN, OTHER_RUN = UUID(int=1), UUID(int=2)
MENTOR, ANNA, BO = UUID(int=11), UUID(int=12), UUID(int=13)
FIRST, SECOND = UUID(int=21), UUID(int=22)


def reminder(certification_id: UUID = FIRST) -> Reminder:
    return Reminder(
        mentor_id=MENTOR,
        certification_id=certification_id,
        certificate_type="first_aid",
        expiry_date=date(2026, 4, 1),
        tier=Tier(30),
        window_start=date(2026, 3, 2),
        window_date=date(2026, 3, 2),
    )


def fired(**other: Any) -> FiredReminder:
    facts: dict[str, Any] = {
        "reminder_id": UUID(int=31), "certification_id": FIRST, "status": "claimed",
        "run_id": OTHER_RUN, "created_at": NOW - timedelta(hours=1),
    }  # fmt: skip
    return FiredReminder(**facts | other)


@pytest.mark.parametrize(
    ("other", "double"),
    [
        ({}, True),
        ({"run_id": None}, True),
        ({"run_id": THIS_RUN}, False),
        ({"status": "merged"}, False),
        ({"created_at": NOW - timedelta(hours=12, minutes=59)}, True),
        ({"created_at": NOW - timedelta(hours=13, minutes=1)}, False),  # yesterday in Oslo
        ({"created_at": NOW - timedelta(hours=24)}, False),
    ],
)
def test_ded_8_another_run_on_the_same_day_is_a_double(
    other: dict[str, Any], *, double: bool
) -> None:
    assert is_double(fired(**other), run_id=THIS_RUN, now=NOW, zone=OSLO) is double


def test_ded_8_a_day_of_25_hours_has_no_doubles_beyond_24() -> None:
    """The night the clocks go back: the first and the last hour of one day are a day apart."""
    late = datetime(2026, 10, 25, 22, 30, tzinfo=UTC)

    def at(hours: float) -> bool:
        before = fired(created_at=late - timedelta(hours=hours))
        return is_double(before, run_id=THIS_RUN, now=late, zone=OSLO)

    assert at(23.9)
    assert not at(24)
    assert not at(24.4)


def test_ded_8_both_days_are_those_of_the_organisation() -> None:
    """Half past eleven at night in London is the next day in Oslo, for both runs."""
    midnight = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    before = fired(created_at=midnight - timedelta(minutes=20))

    assert is_double(before, run_id=THIS_RUN, now=midnight, zone=OSLO)


def test_rec_1_a_reminder_without_resolution_is_for_the_mentor() -> None:
    found = Resolution(MENTOR, (ANNA, BO), Step.ASSIGNED)

    assert people_of((reminder(), None)) == (MENTOR,)
    assert people_of((reminder(), found)) == (ANNA, BO)
    assert pushes_of([(reminder(), found), (reminder(SECOND), None)]) == [
        (ANNA, reminder()),
        (BO, reminder()),
        (MENTOR, reminder(SECOND)),
    ]


def test_ded_7_who_had_this_very_push_is_left_out_and_nobody_else() -> None:
    found = Resolution(MENTOR, (ANNA, BO), Step.CHAPTER_COORDINATORS)
    told = [(reminder(), found), (reminder(SECOND), found), (reminder(), None)]

    kept, dropped = without_recent(told, {(ANNA, FIRST), (BO, UUID(int=99))})

    assert kept == [
        (reminder(), Resolution(MENTOR, (BO,), Step.CHAPTER_COORDINATORS)),
        (reminder(SECOND), found),
        (reminder(), None),
    ]
    assert dropped == 0


def test_ded_7_a_reminder_that_has_nobody_left_is_skipped() -> None:
    found = Resolution(MENTOR, (ANNA,), Step.ASSIGNED)
    told = [(reminder(), found), (reminder(), None), (reminder(SECOND), None)]

    kept, dropped = without_recent(told, {(ANNA, FIRST), (MENTOR, FIRST)})

    assert kept == [(reminder(SECOND), None)]
    assert dropped == 2


def test_ded_3_what_is_neither_ours_nor_refused_was_claimed_by_somebody_else() -> None:
    third = UUID(int=23)
    all_ = [reminder(FIRST), reminder(SECOND), reminder(third)]

    assert lost(all_, {FIRST: UUID(int=41)}, {SECOND}) == [reminder(third)]
    assert lost(all_, {FIRST, SECOND, third}, set()) == []
