"""Who is told: the first non-empty step of one ordered chain, each person once."""

from __future__ import annotations

from uuid import UUID

import pytest

from sagas.recipients import Directory, Step, resolve, resolve_all

MENTOR = UUID(int=1)
ANNA, BO, CID, ADMIN = (UUID(int=each) for each in (11, 12, 13, 14))
X, Y = UUID(int=101), UUID(int=102)


def directory(*present: Step, mentor_is_coordinator: bool = False) -> Directory:
    """Somebody at each of the steps named; the mentor is in chapters X and Y."""
    return Directory(
        assigned={MENTOR: {CID}} if Step.ASSIGNED in present else {},
        chapters={MENTOR: {X, Y}},
        coordinators=(
            {X: {ANNA, BO}, Y: {ANNA, CID}}
            if Step.CHAPTER_COORDINATORS in present
            else {X: {MENTOR}}
            if mentor_is_coordinator
            else {}
        ),
        admins={X: {ADMIN}} if Step.CHAPTER_ADMINS in present else {},
        organisation=frozenset({ANNA, BO})
        if Step.ORGANISATION_COORDINATORS in present
        else frozenset(),
    )


@pytest.mark.parametrize(
    ("present", "recipients", "missing"),
    [
        ((Step.ASSIGNED, Step.CHAPTER_COORDINATORS), (CID,), False),
        ((Step.CHAPTER_COORDINATORS, Step.CHAPTER_ADMINS), (ANNA, BO, CID), False),
        ((Step.CHAPTER_ADMINS, Step.ORGANISATION_COORDINATORS), (ADMIN,), True),
        ((Step.ORGANISATION_COORDINATORS,), (ANNA, BO), True),
        ((), (), True),
    ],
)
def test_the_first_step_that_finds_somebody_wins(
    present: tuple[Step, ...], recipients: tuple[UUID, ...], *, missing: bool
) -> None:
    """REC-2, REC-3, REC-4; Anna coordinates both chapters and is told once."""
    found = resolve(MENTOR, directory(*present))
    assert found.recipients == recipients
    assert found.step is (present[0] if present else Step.NOBODY)
    assert found.missing_coordinator is missing


def test_a_mentor_who_coordinates_his_own_chapter_does_not_end_the_chain() -> None:
    """REC-7: he is removed before the step is chosen, so the chapter admin hears of it."""
    found = resolve(MENTOR, directory(Step.CHAPTER_ADMINS, mentor_is_coordinator=True))
    assert (found.recipients, found.step) == ((ADMIN,), Step.CHAPTER_ADMINS)


def test_a_mentor_without_a_chapter_falls_to_the_organisation() -> None:
    """No membership at all is like a chapter without anybody."""
    found = resolve(MENTOR, Directory(organisation=frozenset({BO})))
    assert (found.recipients, found.step) == ((BO,), Step.ORGANISATION_COORDINATORS)


def test_a_batch_is_resolved_by_mentor() -> None:
    """Two certificates of one mentor ask once."""
    found = resolve_all([MENTOR, MENTOR], directory(Step.ASSIGNED))
    assert list(found) == [MENTOR]
    assert (found[MENTOR].mentor_id, found[MENTOR].recipients) == (MENTOR, (CID,))
    assert resolve(MENTOR, directory()).mentor_id == MENTOR
