"""What the database picks and what the pure rules pick are the same certificates."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from random import Random
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from handlers.texts import Audience
from sagas import queries
from sagas.eligibility import CertificateRow, MentorStatus, eligible, reach
from sagas.policy import DEFAULTS
from sagas.results import OrchestrationResult as Counts
from sagas.tiers import tier_of

if TYPE_CHECKING:
    from sagas.run import Organisation
    from tests.sagas.world import World

MENTORS = 40
PAGE = 7
_FIRST = (UUID(int=0), UUID(int=0))
_DAYS = (None, -40, -31, -30, -1, 0, 7, 8, 30, 31, 60, 61, 400)
_ISSUED = (None, date(2024, 1, 1), date(2025, 1, 1))


async def sow(world: World, organisation: Organisation, random: Random) -> list[CertificateRow]:
    """Mentors of every status, each with a few certificates of two types, many of them alike."""
    rows = []
    for _ in range(MENTORS):
        status = random.choice(["active", "active", "paused", "inactive"])
        mentor = await world.mentor(organisation, status=status)
        for _ in range(random.randint(0, 5)):
            days = random.choice(_DAYS)
            row = CertificateRow(
                id=uuid4(),
                mentor_id=mentor,
                certificate_type=random.choice(["basic", "first_aid"]),
                issued_on=random.choice(_ISSUED),
                expiry_date=None if days is None else world.day(organisation, days),
                mentor_status=MentorStatus(status),
                organisation_id=organisation.id,
                revoked=random.random() < 0.2,
            )
            rows.append(row)
            await world.conn.execute(
                "insert into certifications"
                " (id, mentor_id, certificate_type, issued_on, expiry_date, revoked_at, required)"
                " values (%s, %s, %s, %s, %s, %s, false)",
                [
                    row.id,
                    row.mentor_id,
                    row.certificate_type,
                    row.issued_on,
                    row.expiry_date,
                    world.now if row.revoked else None,
                ],
            )
    return rows


async def picked(
    world: World, organisation: Organisation, first: date, last: date
) -> list[queries.DueCertificate]:
    """All pages of the database's answer."""
    found: list[queries.DueCertificate] = []
    after = _FIRST
    while True:
        page = await queries.due_certificates(
            world.conn, organisation.id, first=first, last=last, after=after, limit=PAGE
        )
        found += page
        if len(page) < PAGE:
            return found
        after = (page[-1].mentor_id, page[-1].certification_id)


@pytest.mark.parametrize("seed", range(4))
async def test_the_scan_is_the_rules(world: World, seed: int) -> None:
    """ELG-1, ELG-2, ELG-3, ELG-4, RES-1: the same rows by SQL and by hand, each counted once."""
    organisation = await world.organisation(go_live_date=world.now.date() - timedelta(days=20))
    rows = await sow(world, organisation, Random(seed))  # noqa: S311 - data, not a secret
    today = organisation.today(world.run())
    counted = eligible(rows)

    for audience in Audience:
        policy = DEFAULTS[audience]
        first, last = reach(policy, today=today, go_live_on=organisation.go_live_date)
        due = [row for row in counted.current if first <= _date(row) <= last]

        found = await picked(world, organisation, first, last)

        expected = Counter(row.id for row in (*due, *counted.unusable))
        assert Counter(each.certification_id for each in found) == expected

    ran = await world.remind(organisation, Audience.MENTOR)

    policy = DEFAULTS[Audience.MENTOR]
    first, last = reach(policy, today=today, go_live_on=organisation.go_live_date)
    fired = [row for row in counted.current if first <= _date(row) <= last]
    assert ran == Counts(
        processed=len(counted.current) + len(counted.unusable),
        created=len(fired),
        queued=len(fired),
        failed=len(counted.unusable),
        not_due=len(counted.current) - len(fired),
    )
    claimed = await world.rows("select certification_id, threshold_tier from cert_expiry_reminders")
    assert {tuple(row.values()) for row in claimed} == {
        (row.id, _tier(row, today)) for row in fired
    }


def _tier(row: CertificateRow, today: date) -> str:
    tier = tier_of((_date(row) - today).days, DEFAULTS[Audience.MENTOR])
    assert tier is not None
    return tier.label


def _date(row: CertificateRow) -> date:
    assert row.expiry_date is not None
    return row.expiry_date
