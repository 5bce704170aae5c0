"""One group is one push: how items share one, mode by mode."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from handlers.texts import Kind
from sagas.grouping import (
    Item,
    coordinator_groups,
    pause_groups,
    regrouped,
    reminder_kind,
    single_groups,
    status_groups,
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
    """GRP-1, GRP-2, GRP-3: in every mode each item is in exactly one group of its recipient."""
    groups = coordinator_groups(THREE, mode=mode, run_id=RUN)

    assert sorted(len(group.items) for group in groups) == sizes
    assert sorted(id(item) for group in groups for item in group.items) == sorted(map(id, THREE))
    assert all(item.recipient_id == group.recipient_id for group in groups for item in group.items)
    assert len({group.dedup_key for group in groups}) == len(groups)


def test_a_digest_holds_the_most_urgent_first() -> None:
    """GRP-1."""
    digest = next(
        group
        for group in coordinator_groups(THREE, mode=Grouping.PER_RUN, run_id=RUN)
        if group.recipient_id == ANNA
    )
    assert digest.kind is Kind.COORDINATOR_DIGEST
    assert digest.tier == LAPSED
    assert [item.tier for item in digest.items] == [LAPSED, Tier(30), Tier(30)]


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


def test_a_reminders_kind_follows_its_tier() -> None:
    """PUSH-2: past the last valid day it is a lapse, before it a reminder."""
    assert reminder_kind(LAPSED) is Kind.CERT_LAPSED
    assert reminder_kind(Tier(7)) is Kind.CERT_EXPIRY_REMINDER


def test_a_single_group_is_its_item() -> None:
    item = reminder(MENTOR_A, MENTOR_A, Tier(30))
    (group,) = single_groups([item])

    assert (group.recipient_id, group.kind, group.tier) == (MENTOR_A, item.kind, Tier(30))
    assert group.dedup_key == f"reminder:{item.reminder_id}:{MENTOR_A}"


@pytest.mark.parametrize(
    ("mode", "tail"),
    [(Grouping.PER_RUN, ""), (Grouping.PER_TIER, ":7"), (Grouping.PER_MENTOR, f":{MENTOR_B}")],
)
def test_the_keys_of_groups_are_stored_and_stay(mode: Grouping, tail: str) -> None:
    """A key that changed with a release would push the same night twice."""
    (group,) = coordinator_groups([THREE[3]], mode=mode, run_id=RUN)

    assert group.dedup_key == f"reminders:{RUN}:{BO}{tail}"


@pytest.mark.parametrize(("tier", "first"), [(LAPSED, MENTOR_A), (Tier(1), MENTOR_B)])
def test_a_pause_is_as_urgent_as_a_lapse(tier: Tier, first: UUID) -> None:
    """Beside a lapse the ids decide; before any reminder it comes first."""
    items = [reminder(ANNA, MENTOR_A, tier), pause(ANNA, MENTOR_B)]
    (group,) = pause_groups(items, run_id=RUN)

    assert group.items[0].mentor_id == first


def test_notices_told_together_are_keyed_by_what_they_tell() -> None:
    """GRP-6: one mentor alone by the version of his state, several by what told them together."""
    items = [
        pause(ANNA, MENTOR_A),
        pause(ANNA, MENTOR_B),
        pause(BO, MENTOR_A),
        pause(MENTOR_B, MENTOR_B),
    ]

    groups = status_groups(items, key="changes:5", versions={MENTOR_A: 7})

    assert {group.recipient_id: group.dedup_key for group in groups} == {
        ANNA: f"changes:5:{ANNA}",
        BO: f"status:{MENTOR_A}:7:{BO}",
        MENTOR_B: f"changes:5:{MENTOR_B}",
    }
    assert {group.recipient_id: len(group.items) for group in groups} == {
        ANNA: 2, BO: 1, MENTOR_B: 1
    }  # fmt: skip
    (pair,) = status_groups(items[:2], key="k", versions={MENTOR_A: 7, MENTOR_B: 8})
    assert pair.dedup_key == f"k:{ANNA}"


def test_a_group_without_some_items_keeps_its_key_and_recipient() -> None:
    """GRP-4: what is left of a digest is one push to the same person, named anew."""
    (digest,) = coordinator_groups(THREE[:3], mode=Grouping.PER_RUN, run_id=RUN)
    left = regrouped(digest, [digest.items[1]])

    assert (left.dedup_key, left.recipient_id) == (digest.dedup_key, ANNA)
    assert (left.kind, left.items) == (Kind.CERT_EXPIRY_REMINDER, (digest.items[1],))
