"""What is due when, decided from instants alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagas.timetable import JOBS, TIMETABLE, Entry, Standing, due, next_instant, overdue

ENTRIES = {entry.job: entry for entry in TIMETABLE}
INSTANTS = st.datetimes(
    datetime(2001, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)  # noqa: DTZ001 - bounds
)  # fmt: skip
SOMETIMES = st.none() | st.timedeltas(timedelta(days=-3), timedelta(days=1))


def at(text: str) -> datetime:
    """An instant of 2 March 2026."""
    return datetime.fromisoformat(f"2026-03-02T{text}+00:00")


def jobs_at(now: datetime, **standings: Standing) -> list[str]:
    """The jobs due at an instant; those not told ended a moment ago."""
    told = {job: standings.get(job, Standing(ended=now)) for job in JOBS}
    return [each.entry.job for each in due(TIMETABLE, told, now)]


def test_ops_1_the_night_begins_at_five_past_midnight_utc() -> None:
    """OPS-1, PAU-7, RCN-1, CRD-1: the instants of each job, in winter and in summer."""
    for day in ("2026-01-01", "2026-07-01"):
        now = datetime.fromisoformat(f"{day}T12:34:56+00:00")
        last = {job: entry.last(now).isoformat()[11:16] for job, entry in ENTRIES.items()}
        assert last == {
            "nightly": "00:05",
            "sweep": "12:30",
            "credentials": "12:10",
            "reconcile": "00:30",
            "reconcile_light": "11:50",
            "prompts": "07:00",
        }
    assert ENTRIES["sweep"].period == timedelta(minutes=15)
    assert ENTRIES["nightly"].next(at("00:04:59")) == at("00:05:00")
    assert ENTRIES["nightly"].last(at("00:05:00")) == at("00:05:00")


@given(INSTANTS)
def test_instants_are_the_same_for_whoever_asks(now: datetime) -> None:
    """The newest is past or now, the next lies ahead, one period apart, on the table's minute."""
    for entry in TIMETABLE:
        last, upcoming = entry.last(now), entry.next(now)
        assert last <= now < upcoming
        assert upcoming - last == entry.period
        assert (last - last.replace(hour=0, minute=0, second=0, microsecond=0)) % entry.period == (
            entry.offset % entry.period
        )
        assert entry.last(upcoming - timedelta(microseconds=1)) == last
    assert next_instant(TIMETABLE, now) == min(entry.next(now) for entry in TIMETABLE)


@pytest.mark.parametrize(
    ("now", "standing", "expected"),
    [
        ("00:05:00", Standing(ended=at("00:04:59")), True),
        ("00:05:00", Standing(ended=at("00:05:00")), False),
        ("00:04:59", Standing(ended=datetime(2026, 3, 1, 0, 5, tzinfo=UTC)), False),
        ("00:04:59", Standing(ended=datetime(2026, 2, 28, 0, 5, tzinfo=UTC)), True),
        ("09:00:00", Standing(), True),
        ("09:00:00", Standing(held_until=at("09:00:01")), False),
        ("09:00:00", Standing(held_until=at("09:00:00")), True),
        ("09:00:00", Standing(ended=at("08:00:00"), requested_at=at("08:30:00")), True),
        ("09:00:00", Standing(ended=at("08:30:00"), requested_at=at("08:30:00")), False),
        (
            "09:00:00",
            Standing(ended=at("08:00"), requested_at=at("08:30"), held_until=at("10:00")),
            False,
        ),
    ],
    ids=[
        "its instant has come", "its run began at its instant", "of yesterday", "missed yesterday",
        "never run", "somebody is at it", "he died", "asked for", "asked for and done",
        "asked for, somebody at it",
    ],
)  # fmt: skip
def test_a_job_is_due_until_a_run_since_its_instant_has_ended(
    now: str,
    standing: Standing,
    expected: bool,  # noqa: FBT001 - a row of the table
) -> None:
    """DED-6: what counts is a run that ended; one that died with its process is made up for."""
    assert jobs_at(at(now), nightly=standing) == (["nightly"] if expected else [])


def test_what_was_missed_is_made_up_for_once_and_not_for_ever() -> None:
    """Down for three days: each job once, the night first; prompts do not ring in the evening."""
    down_since = Standing(ended=datetime(2026, 2, 27, 7, 0, tzinfo=UTC))
    all_down = dict.fromkeys(JOBS, down_since)
    assert jobs_at(at("12:00"), **all_down) == [
        "nightly", "sweep", "credentials", "reconcile", "reconcile_light", "prompts"
    ]  # fmt: skip
    assert "prompts" in jobs_at(at("18:59"), **all_down)
    assert "prompts" not in jobs_at(at("19:00"), **all_down)


def test_without_a_timetable_only_requests_are_due() -> None:
    """OPS-3: where pg_cron holds the timetable."""
    now = at("12:00")
    standings = {"sweep": Standing(requested_at=at("11:59")), "nightly": Standing()}
    assert [(each.entry.job, each.since) for each in due(TIMETABLE, standings, now, own=False)] == [
        ("sweep", at("11:59"))
    ]


@given(INSTANTS, SOMETIMES, SOMETIMES, st.integers(0, 4))
def test_a_run_that_begins_when_due_makes_it_due_no_more(
    now: datetime, ended: timedelta | None, asked: timedelta | None, failures: int
) -> None:
    """Also where the request's clock is ahead of the scheduler's: a run counts from its instant."""
    entry = Entry("sweep", timedelta(minutes=15))
    standing = Standing(
        ended=None if ended is None else now + ended,
        requested_at=None if asked is None else now + asked,
        failures=failures,
    )
    for each in due([entry], {"sweep": standing}, now):
        began = max(now, each.since)
        for after in (0, failures + 1):
            again = Standing(ended=began, requested_at=standing.requested_at, failures=after)
            assert due([entry], {"sweep": again}, now) == []


@pytest.mark.parametrize(
    ("now", "standing", "late"),
    [
        ("01:04:59", Standing(ended=datetime(2026, 3, 1, 0, 5, tzinfo=UTC)), False),
        ("01:05:00", Standing(ended=datetime(2026, 3, 1, 0, 5, tzinfo=UTC)), True),
        ("01:05:00", Standing(ended=at("00:05:00")), False),
        ("01:05:00", Standing(held_until=at("01:05:01")), False),
        ("01:05:00", Standing(held_until=at("01:05:00")), True),
        ("01:05:00", Standing(), True),
    ],
    ids=["its hour is not over", "it is", "done", "at work", "died at work", "never"],
)
def test_what_nobody_did_within_its_hour_is_overdue(
    now: str,
    standing: Standing,
    late: bool,  # noqa: FBT001 - a row of the table
) -> None:
    """P11: that no scheduler runs at all is told to whoever asks."""
    told = dict.fromkeys(JOBS, Standing(ended=at(now))) | {"nightly": standing}
    assert overdue(TIMETABLE, told, at(now)) == (["nightly"] if late else [])


def test_a_job_of_short_periods_is_overdue_after_one_of_them() -> None:
    told = dict.fromkeys(JOBS, Standing(ended=at("12:00")))
    assert overdue(TIMETABLE, told, at("12:29:59")) == []
    assert overdue(TIMETABLE, told, at("12:30")) == ["sweep"]


@pytest.mark.parametrize(
    ("now", "failures", "again"),
    [
        ("00:15:59", 1, False),
        ("00:16:00", 1, True),
        ("00:16:00", 2, True),
        ("00:16:00", 3, False),
        ("00:16:00", 0, False),
    ],
    ids=["not at once", "ten minutes on", "a second time", "not for ever", "it went well"],
)
def test_a_run_that_failed_is_done_again_twice(
    now: str,
    failures: int,
    again: bool,  # noqa: FBT001 - a row of the table
) -> None:
    """A deadlock must not cost an organisation its night; what is broken waits for its instant."""
    standing = Standing(ended=at("00:06:00"), failures=failures)
    told = dict.fromkeys(JOBS, Standing(ended=at(now))) | {"nightly": standing}

    found = [each for each in due(TIMETABLE, told, at(now)) if each.entry.job == "nightly"]

    assert [each.since for each in found] == ([at("00:16:00")] if again else [])
