"""Which coordinators are told about a mentor: one ordered chain, the first non-empty step wins.

Loading is set-based and constant: three statements for a whole batch (`queries.load_directory`),
never one per mentor (REC-5, PRF-4). Deciding is pure and works on what was loaded (ARC-1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from uuid import UUID

_NOBODY: Final[frozenset[UUID]] = frozenset()


class Step(StrEnum):
    """Which step of the chain found somebody."""

    ASSIGNED = "assigned"
    CHAPTER_COORDINATORS = "chapter_coordinators"
    CHAPTER_ADMINS = "chapter_admins"
    ORGANISATION_COORDINATORS = "organisation_coordinators"
    NOBODY = "nobody"

    @property
    def number(self) -> int:
        """1 for the first step to 5 for nobody, as tables store it."""
        return list(Step).index(self) + 1


@dataclass(frozen=True, slots=True)
class Directory:
    """Who is who around a batch of mentors: active people, memberships and assignments only."""

    assigned: Mapping[UUID, AbstractSet[UUID]] = field(default_factory=dict)
    """Mentor to assigned coordinators."""
    chapters: Mapping[UUID, AbstractSet[UUID]] = field(default_factory=dict)
    """Mentor to the chapters he is an active member of."""
    coordinators: Mapping[UUID, AbstractSet[UUID]] = field(default_factory=dict)
    """Chapter to its coordinators."""
    admins: Mapping[UUID, AbstractSet[UUID]] = field(default_factory=dict)
    """Chapter to its chapter admins."""
    organisation: AbstractSet[UUID] = _NOBODY
    """All coordinators of the organisation, of whatever chapter."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Whom to tell about one mentor, each once (REC-3) and in order; and how they were found."""

    mentor_id: UUID
    recipients: tuple[UUID, ...]
    step: Step

    @property
    def missing_coordinator(self) -> bool:
        """Whether neither assignment nor chapter named a coordinator: a finding (REC-4)."""
        return self.step not in (Step.ASSIGNED, Step.CHAPTER_COORDINATORS)


def resolve(mentor_id: UUID, directory: Directory) -> Resolution:
    """Walk the chain for one mentor (REC-2).

    The mentor himself is removed before a step is chosen; inactive people were never loaded
    (REC-7).
    """
    chapters = directory.chapters.get(mentor_id, _NOBODY)
    steps = (
        (Step.ASSIGNED, directory.assigned.get(mentor_id, _NOBODY)),
        (Step.CHAPTER_COORDINATORS, _of(chapters, directory.coordinators)),
        (Step.CHAPTER_ADMINS, _of(chapters, directory.admins)),
        (Step.ORGANISATION_COORDINATORS, directory.organisation),
    )
    for step, people in steps:
        others = people - {mentor_id}
        if others:
            return Resolution(mentor_id, tuple(sorted(others)), step)
    return Resolution(mentor_id, (), Step.NOBODY)


def resolve_all(mentor_ids: Iterable[UUID], directory: Directory) -> dict[UUID, Resolution]:
    """Resolve a batch; a mentor named twice is resolved once."""
    return {mentor_id: resolve(mentor_id, directory) for mentor_id in mentor_ids}


def _of(chapters: AbstractSet[UUID], people: Mapping[UUID, AbstractSet[UUID]]) -> frozenset[UUID]:
    return frozenset().union(*(people.get(chapter, _NOBODY) for chapter in chapters))
