"""Which certificates are looked at, decided from rows alone.

The nightly run asks the same questions in SQL to keep its memory bounded; `tests/sagas` holds the
two against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from sagas.policy import Policy


class MentorStatus(StrEnum):
    """Where a mentor stands."""

    ACTIVE = "active"
    PAUSED = "paused"
    INACTIVE = "inactive"


_Rank: TypeAlias = tuple[date, date, int]
"""Latest expiry, latest issue, smallest id: total, or two runs would claim different keys."""

REMINDED: Final = frozenset({MentorStatus.ACTIVE, MentorStatus.PAUSED})


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """One certificate with what eligibility needs of its mentor."""

    id: UUID
    mentor_id: UUID | None
    certificate_type: str
    issued_on: date | None
    expiry_date: date | None
    mentor_status: MentorStatus = MentorStatus.ACTIVE
    organisation_id: UUID | None = None
    required: bool = True
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Eligible:
    """The outcome for one batch of rows: what counts, and what cannot be judged."""

    current: tuple[CertificateRow, ...]
    unusable: tuple[CertificateRow, ...]


def eligible(rows: Iterable[CertificateRow]) -> Eligible:
    """Keep, per mentor and certificate type, the one certificate that counts (ELG-1).

    Revoked rows and inactive mentors fall out silently (ELG-2). A row without expiry, mentor or
    organisation is `unusable`: it is counted as failed and never hides a usable one (ELG-4).
    """
    best: dict[tuple[UUID, str], tuple[_Rank, CertificateRow]] = {}
    unusable: list[CertificateRow] = []
    for row in rows:
        if row.revoked or row.mentor_status not in REMINDED:
            continue
        if row.mentor_id is None or row.organisation_id is None or row.expiry_date is None:
            unusable.append(row)
            continue
        key = (row.mentor_id, row.certificate_type)
        rank = (row.expiry_date, row.issued_on or date.min, -row.id.int)
        if key not in best or rank > best[key][0]:
            best[key] = (rank, row)
    return Eligible(tuple(row for _, row in best.values()), tuple(unusable))


def lapsed_in_reach(
    expiry: date, *, today: date, lookback_days: int, go_live_on: date | None
) -> bool:
    """Whether a lapse is recent enough for a notice: a first deployment must not flood (ELG-3).

    A certificate lapses on the day after `expiry`; that day must lie within `lookback_days` of
    today and not before the organisation's go-live. Auto-pause has no such limit.
    """
    lapsed_on = expiry + timedelta(days=1)
    if lapsed_on > today or today - lapsed_on > timedelta(days=lookback_days):
        return False
    return go_live_on is None or lapsed_on >= go_live_on


def reach(policy: Policy, *, today: date, go_live_on: date | None) -> tuple[date, date]:
    """The first and the last expiry date a run looks at: what lies outside has no tier today."""
    last = today + timedelta(days=max(policy.thresholds))
    if not policy.lapsed:
        return today, last
    first_lapse = today - timedelta(days=policy.lapsed_lookback_days)
    if go_live_on is not None:
        first_lapse = max(first_lapse, go_live_on)
    return min(today, first_lapse - timedelta(days=1)), last
