"""Policies are validated on write and never stop a run on read."""

from __future__ import annotations

import pytest

from handlers.texts import Audience
from sagas.policy import (
    DEFAULTS,
    Cadence,
    Grouping,
    InDoubt,
    InvalidPolicy,
    Policy,
    effective,
    policy_from_row,
)


@pytest.mark.parametrize(
    "thresholds",
    [(), (0,), (366,), (7, 7), (7, 30), (9, 8, 7, 6, 5, 4, 3, 2, 1)],
    ids=["none", "zero", "over a year", "equal", "ascending", "nine"],
)
def test_a_broken_list_of_thresholds_is_refused(thresholds: tuple[int, ...]) -> None:
    """The same rules as the table's check constraint."""
    with pytest.raises(InvalidPolicy):
        Policy(Audience.MENTOR, thresholds)


def test_the_built_in_defaults_are_the_standard() -> None:
    """CFG-2."""
    assert DEFAULTS[Audience.MENTOR].thresholds == (60, 30, 7)
    assert DEFAULTS[Audience.COORDINATOR].thresholds == (30, 14, 7)
    for policy in DEFAULTS.values():
        assert policy.lapsed
        assert policy.cadence is Cadence.ONCE_PER_TIER
        assert policy.grouping is Grouping.PER_RUN
        assert policy.in_doubt is InDoubt.HOLD


def test_own_thresholds_apply_only_under_the_flag() -> None:
    """CFG-3: the row may stand ready long before it takes effect."""
    row = {"thresholds": [60, 30, 14, 7], "grouping": "per_tier"}
    on = effective(Audience.COORDINATOR, row, overrides=True)
    off = effective(Audience.COORDINATOR, row, overrides=False)
    assert (on.policy.thresholds, on.policy.grouping) == ((60, 30, 14, 7), Grouping.PER_TIER)
    assert off.policy == DEFAULTS[Audience.COORDINATOR]


@pytest.mark.parametrize(
    "row",
    [
        {"thresholds": [7, 30]},
        {"thresholds": "30,7"},
        {"thresholds": [True]},
        {"thresholds": [30], "cadence": "hourly"},
        {"thresholds": [30], "per_run_date_tiers": ["14"]},
        {"thresholds": [30], "per_run_date_tiers": "30"},
        {"thresholds": [30], "guard_hours": -1},
        {"thresholds": [30], "guard_hours": None},
        {"thresholds": [30], "guard_hours": 169},
        {"thresholds": [30], "lapsed_lookback_days": 3651},
        {"thresholds": [30], "lapsed": "no"},
        {"thresholds": [30], "grouping": None},
        {},
    ],
    ids=[
        "ascending",
        "text",
        "boolean",
        "unknown cadence",
        "foreign tier",
        "tiers as text",
        "negative",
        "no number",
        "over a week",
        "over ten years",
        "a word for a switch",
        "no word",
        "empty",
    ],
)
def test_an_invalid_policy_found_at_run_time_means_defaults_and_says_so(
    row: dict[str, object],
) -> None:
    """CFG-5."""
    found = effective(Audience.MENTOR, row, overrides=True)
    assert found.policy == DEFAULTS[Audience.MENTOR]
    assert isinstance(found.refused, InvalidPolicy)
    with pytest.raises(InvalidPolicy):
        policy_from_row(Audience.MENTOR, row)


def test_single_tiers_may_fire_every_night() -> None:
    """D-2: the cadence is a matter of organisation, audience and tier."""
    policy = policy_from_row(
        Audience.MENTOR, {"thresholds": [30, 7], "per_run_date_tiers": ["7", "lapsed"]}
    )
    assert [policy.cadence_of(label) for label in ("30", "7", "lapsed")] == [
        Cadence.ONCE_PER_TIER,
        Cadence.PER_RUN_DATE,
        Cadence.PER_RUN_DATE,
    ]


def test_a_policy_told_is_the_policy_read() -> None:
    """CFG-1: what is shown, audited or sent to a client is a whole policy again."""
    policy = Policy(
        Audience.COORDINATOR, (60, 14), lapsed=False, cadence=Cadence.PER_RUN_DATE,
        per_run_date_tiers=frozenset({"14", "lapsed"}), grouping=Grouping.PER_MENTOR,
        in_doubt=InDoubt.RESEND_ONCE, lapsed_lookback_days=0, guard_hours=168,
    )  # fmt: skip
    assert policy_from_row(Audience.COORDINATOR, policy.as_json()) == policy
