"""When a prompt is due, held against days counted by hand; and the form rules must have."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagas.prompt_rules import (
    CONTACTS,
    KINDS,
    Activity,
    Anchor,
    InvalidRule,
    Reason,
    Rule,
    judge,
    reach,
)

OSLO = ZoneInfo("Europe/Oslo")
ZONES = st.sampled_from(
    ["Europe/Oslo", "UTC", "America/New_York", "Pacific/Apia", "America/Sao_Paulo", "Asia/Tehran"]
).map(ZoneInfo)
INSTANTS = st.datetimes(
    datetime(2015, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)  # noqa: DTZ001 - bounds
)  # fmt: skip

FLAGS = st.sampled_from(
    ["wellbeing_concern", "follow_up_wanted", "needs_ride", "x", "quoted"]
) | st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
RULES = st.fixed_dictionaries(
    {
        "schema": st.just(1),
        "anchor": st.sampled_from([each.value for each in Anchor]),
        "delay_days": st.integers(0, 365) | st.sampled_from([0, 1, 2, 3]),
        "conditions": st.lists(
            st.fixed_dictionaries({"flag": FLAGS, "is": st.booleans()}),
            max_size=4,
            unique_by=lambda each: each["flag"],
        ),
        "unless": st.sampled_from([[], [{"event": "follow_up_registered"}]]),
    }
).map(Rule.of)


def rule(**parts: Any) -> Rule:
    """A rule from its JSON; three days after first contact unless the parts say otherwise."""
    return Rule.of({"schema": 1, "anchor": "first_contact", "delay_days": 3, **parts})


def first_contact(at: datetime, **facts: Any) -> Activity:
    """A first contact at an instant."""
    return Activity(**{"kind": "first_contact", "occurred_at": at, "flags": {}, **facts})


@given(RULES)
def test_scn_7_a_rule_survives_its_stored_form(given_rule: Rule) -> None:
    assert Rule.of(given_rule.as_json()) == given_rule


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"schema": 2}, "schema"),
        ({"anchor": "birthday"}, "anchor"),
        ({"delay_days": 366}, "delay_days"),
        ({"delay_days": -1}, "delay_days"),
        ({"delay_days": "3"}, "delay_days"),
        ({"delay_days": True}, "delay_days"),
        ({"conditions": [{"flag": "Wellbeing Concern", "is": True}]}, "conditions.0.flag"),
        ({"conditions": [{"flag": "x", "is": 1}]}, "conditions.0.is"),
        ({"conditions": [{"flag": "x"}]}, "conditions.0.is"),
        (
            {"conditions": [{"flag": "x", "is": True}, {"flag": "x", "is": False}]},
            "conditions",
        ),
        ({"unless": [{"event": "rain"}]}, "unless.0.event"),
        ({"unless": [{"event": "follow_up_registered"}] * 2}, "unless"),
        ({"when": "later"}, "when"),
    ],
)
def test_scn_7_a_rule_of_another_form_is_refused_by_its_place(
    change: dict[str, Any], where: str
) -> None:
    """What was given is not quoted: a rule may be pasted from anywhere."""
    with pytest.raises(InvalidRule) as refused:
        rule(**change)
    (problem,) = refused.value.problems
    assert problem.startswith(f"{where}: ")
    assert "Wellbeing" not in str(refused.value)


def test_scn_7_what_is_no_object_is_refused() -> None:
    with pytest.raises(InvalidRule, match="rule: "):
        Rule.of("send it")


@pytest.mark.parametrize(
    ("now", "reasons"),
    [
        ("2026-03-27T22:59Z", (Reason.NOT_YET,)),
        ("2026-03-27T23:00Z", ()),  # midnight in Oslo
        ("2026-03-31T21:59Z", ()),  # summer time has begun: the last minute of the third day after
        ("2026-03-31T22:00Z", (Reason.TOO_LATE,)),
    ],
)
def test_scn_11_a_prompt_is_due_on_its_civil_day_and_three_more(
    now: str, reasons: tuple[Reason, ...]
) -> None:
    """SCN-11: anchor late on 24 March in UTC is 25 March in Oslo; 28 March is its day."""
    anchor = first_contact(datetime(2026, 3, 24, 23, 30, tzinfo=UTC))
    found = judge(rule(), anchor, now=datetime.fromisoformat(now), zone=OSLO, enabled_at=None)
    assert (found.due_on, found.last_on) == (date(2026, 3, 28), date(2026, 3, 31))
    assert found.reasons == reasons
    assert found.fires == (not reasons)


NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
ANCHOR = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("parts", "facts", "reasons"),
    [
        ({}, {}, ()),
        ({"conditions": [{"flag": "a", "is": True}]}, {"flags": {"a": True}}, ()),
        ({"conditions": [{"flag": "a", "is": True}]}, {}, (Reason.CONDITION_NOT_MET,)),
        (
            {"conditions": [{"flag": "a", "is": True}]},
            {"flags": {"a": "yes"}},
            (Reason.CONDITION_NOT_MET,),
        ),
        ({"conditions": [{"flag": "a", "is": False}]}, {}, ()),
        (
            {"conditions": [{"flag": "a", "is": True}, {"flag": "b", "is": False}]},
            {"flags": {"a": True, "b": True}},
            (Reason.CONDITION_NOT_MET,),
        ),
        ({}, {"followed_up": True}, ()),
        (
            {"unless": [{"event": "follow_up_registered"}]},
            {"followed_up": True},
            (Reason.FOLLOWED_UP,),
        ),
        ({"unless": [{"event": "follow_up_registered"}]}, {}, ()),
        ({}, {"overtaken": True}, ()),
        ({"anchor": "last_contact"}, {"overtaken": True}, (Reason.OVERTAKEN,)),
        ({"anchor": "last_contact"}, {"kind": "contact"}, ()),
        ({}, {"kind": "contact"}, (Reason.OTHER_ACTIVITY,)),
        ({"anchor": "activity_completed"}, {}, (Reason.OTHER_ACTIVITY,)),
        ({}, {"mentor_status": "paused"}, ()),
        ({}, {"mentor_status": "inactive"}, (Reason.MENTOR_LEFT,)),
        ({"delay_days": 0}, {"occurred_at": NOW + timedelta(minutes=1)}, (Reason.NOT_YET,)),
    ],
)
def test_scn_11_each_part_of_a_rule_decides(
    parts: dict[str, Any], facts: dict[str, Any], reasons: tuple[Reason, ...]
) -> None:
    activity = first_contact(**{"at": facts.pop("occurred_at", ANCHOR), **facts})
    assert judge(rule(**parts), activity, now=NOW, zone=OSLO, enabled_at=None).reasons == reasons


def test_scn_11_what_happened_before_the_enabling_stays_unsaid() -> None:
    """To the instant; the first deployment of a rule prompts nobody about the past."""
    for enabled_at, reasons in (
        (ANCHOR, ()),
        (ANCHOR + timedelta(seconds=1), (Reason.BEFORE_ENABLED,)),
    ):
        found = judge(rule(), first_contact(ANCHOR), now=NOW, zone=OSLO, enabled_at=enabled_at)
        assert found.reasons == reasons


@given(RULES, INSTANTS, INSTANTS, ZONES)
def test_scn_11_a_rule_fires_on_four_days_and_its_reach_holds_them_all(
    given_rule: Rule, occurred_at: datetime, now: datetime, zone: ZoneInfo
) -> None:
    """Days counted from civil dates alone; what a run reads is never less than what may fire."""
    flags = {each.flag: each.is_ for each in given_rule.conditions}
    kind = KINDS[given_rule.anchor][-1]
    activity = Activity(kind=kind, occurred_at=occurred_at, flags=flags)
    near = occurred_at + timedelta(days=given_rule.delay_days, hours=now.minute * 2 - 20)

    for instant in (now, near):
        found = judge(given_rule, activity, now=instant, zone=zone, enabled_at=None)
        waited = (instant.astimezone(zone).date() - occurred_at.astimezone(zone).date()).days
        wanted = 0 <= waited - given_rule.delay_days <= 3 and occurred_at <= instant
        assert found.fires == wanted
        first, last = reach(given_rule, now=instant, zone=zone)
        assert not found.fires or first <= occurred_at < last
        assert last - first < timedelta(days=5, hours=2)


def test_a_last_contact_may_be_the_first_one() -> None:
    assert KINDS[Anchor.LAST_CONTACT] == CONTACTS == ("first_contact", "contact")


@pytest.mark.parametrize(
    ("zone", "occurred", "now"),
    [
        # 1 November begins twice there: half past midnight for the first time, three days on
        ("America/Havana", "2026-11-01T04:30Z", "2026-11-04T12:00Z"),
        # 4 November began at one o'clock there: the last hour of the day before
        ("America/Sao_Paulo", "2018-11-04T02:30Z", "2018-11-04T02:45Z"),
    ],
)
def test_scn_11_clocks_that_change_at_midnight_lose_nobody(
    zone: str, occurred: str, now: str
) -> None:
    """What a run reads begins with the first midnight of a day and ends with the last."""
    activity, instant = datetime.fromisoformat(occurred), datetime.fromisoformat(now)
    asked = rule(delay_days=0)
    found = judge(asked, first_contact(activity), now=instant, zone=ZoneInfo(zone), enabled_at=None)

    assert found.fires
    first, last = reach(asked, now=instant, zone=ZoneInfo(zone))
    assert first <= activity < last
