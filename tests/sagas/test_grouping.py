"""One group is one push: how items share one, mode by mode."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from sagas.grouping import (
    Item,
    Kind,
    coordinator_groups,
    pause_groups,
    reminder_kind,
    single_groups,
    tier_counts,
)
from sagas.policy import Grouping
from sagas.tiers import LAPSED, Tier

RUN = UUID(int=1)
ANNA, BO = UUID(int=11), UUID(int=12)
MENTOR_A, MENTOR_B = UUID(int=21), UUID(int=22)


def reminder(recipient: UUID, mentor: UUID, tier: Tier) -> Item:
    """One reminder that fired."""
    return Item(
        recipient_id=recipient,
        mentor_id=mentor,
        kind=reminder_kind(tier),
        reminder_id=uuid4(),
        certification_id=uuid4(),
        tier=tier,
    )


def pause(recipient: UUID, mentor: UUID) -> Item:
    """One mentor paused."""
    return Item(recipient_id=recipient, mentor_id=mentor, kind=Kind.MENTOR_PAUSED)


THREE = (
    reminder(ANNA, MENTOR_A, Tier(30)),
    reminder(ANNA, MENTOR_A, LAPSED),
    reminder(ANNA, MENTOR_B, Tier(30)),
    reminder(BO, MENTOR_B, Tier(7)),
)


@pytest.mark.parametrize(
    ("mode", "sizes"),
    [
        (Grouping.PER_RUN, [1, 3]),
        (Grouping.PER_TIER, [1, 1, 2]),
        (Grouping.PER_MENTOR, [1, 1, 2]),
    ],
)
def test_modes_bundle_and_lose_nothing(mode: Grouping, sizes: list[int]) -> None:
    """GRP-1 to GRP-3: in every mode each item is in exactly one group of its recipient."""
    groups = coordinator_groups(THREE, mode=mode, run_id=RUN)

    assert sorted(len(group.items) for group in groups) == sizes
    assert sorted(id(item) for group in groups for item in group.items) == sorted(map(id, THREE))
    assert all(item.recipient_id == group.recipient_id for group in groups for item in group.items)
    assert len({group.dedup_key for group in groups}) == len(groups)


def test_a_digest_counts_per_tier_most_urgent_first() -> None:
    """GRP-1."""
    digest = next(
        group
        for group in coordinator_groups(THREE, mode=Grouping.PER_RUN, run_id=RUN)
        if group.recipient_id == ANNA
    )
    assert digest.kind is Kind.COORDINATOR_DIGEST
    assert digest.tier == LAPSED
    assert list(tier_counts(digest).items()) == [("lapsed", 1), ("30", 2)]


def test_a_coordinator_with_a_single_item_gets_no_digest() -> None:
    """A digest of one would hide which mentor it is about."""
    (group,) = coordinator_groups([THREE[3]], mode=Grouping.PER_RUN, run_id=RUN)
    assert group.kind is Kind.CERT_EXPIRY_REMINDER


def test_building_the_same_groups_again_names_the_same_groups() -> None:
    """The keys are derived from run and recipient, never drawn."""
    once = coordinator_groups(THREE, mode=Grouping.PER_TIER, run_id=RUN)
    again = coordinator_groups(reversed(THREE), mode=Grouping.PER_TIER, run_id=RUN)
    assert {group.dedup_key for group in once} == {group.dedup_key for group in again}


def test_a_mentors_own_reminders_stay_single() -> None:
    """Two certificates of one mentor in one tier are two facts and two pushes to himself."""
    items = [reminder(MENTOR_A, MENTOR_A, Tier(30)), reminder(MENTOR_A, MENTOR_A, Tier(30))]
    groups = single_groups(items)
    assert [len(group.items) for group in groups] == [1, 1]
    assert len({group.dedup_key for group in groups}) == 2


def test_pause_notices_are_one_per_mentor_or_one_digest() -> None:
    """GRP-6."""
    groups = pause_groups(
        [pause(ANNA, MENTOR_A), pause(ANNA, MENTOR_B), pause(BO, MENTOR_A)], run_id=RUN
    )
    assert {(group.recipient_id, group.kind) for group in groups} == {
        (ANNA, Kind.COORDINATOR_DIGEST),
        (BO, Kind.MENTOR_PAUSED),
    }
