"""The sown world is the same from the same seed, and has one of every kind the rules speak of."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from outbox.errors import ConfigurationError
from sagas import queries
from sagas.seed import check_unused, rows_of, seed
from tests.sagas.world import NOW

if TYPE_CHECKING:
    from sagas.run import Organisation
    from tests.sagas.world import World


def dice(number: int) -> Random:
    """A source of chance that gives the same throws again."""
    return Random(number)  # noqa: S311 - a demonstration, no secret


def test_the_same_seed_gives_the_same_rows() -> None:
    """A demonstration can be told twice."""
    once, again, other = (rows_of(mentors=50, now=NOW, random=dice(n)) for n in (7, 7, 8))
    assert once == again
    assert once != other


async def test_the_sown_world_has_one_of_every_kind(world: World) -> None:
    """What a demonstration or a soak then runs into."""
    async with world.transaction() as conn:
        counts = await seed(conn, mentors=200, now=world.now, random=dice(7))

    assert (counts.organisations, counts.mentors) == (2, 200)
    channels = await world.rows("select code, visibility_channel from organisations order by code")
    assert [tuple(row.values()) for row in channels] == [("HLF", "webhook"), ("NHF", "none")]
    kinds = await world.rows(
        "select 'several chapters' as kind from chapter_memberships"
        " group by mentor_id having count(*) > 1"
        " union select 'no device' from peer_mentors m"
        " where not exists (select from device_tokens d where d.user_id = m.id)"
        " union select 'no chapter' from peer_mentors m"
        " where not exists (select from chapter_memberships c where c.mentor_id = m.id)"
        " union select 'revoked' from certifications where revoked_at is not null"
        " union select 'renewed' from certifications where revoked_at is null"
        " group by mentor_id, certificate_type having count(*) > 1"
        " union select 'lapsed' from peer_mentors where suppression_status = 'certificate_expired'"
        " union select 'clock change' from certifications where expiry_date = '2026-03-29'"
        " union select split_part(address, '-', 1) from device_tokens"
    )
    assert {row["kind"] for row in kinds} == {
        "several chapters", "no device", "no chapter", "revoked", "renewed", "lapsed",
        "clock change", "ok", "unreg", "flaky2",
    }  # fmt: skip


async def test_a_database_in_use_is_not_sown(world: World) -> None:
    """The demo says what to do, and does not stop half way at a row that is there."""
    await check_unused(world.dsn)
    await world.organisation()

    with pytest.raises(ConfigurationError, match="holds organisations already"):
        await check_unused(world.dsn)


async def test_a_night_over_the_sown_world_balances(world: World) -> None:
    """The counts of both organisations add up, and a second night creates nothing."""
    async with world.transaction() as conn:
        await seed(conn, mentors=200, now=world.now, random=dice(7))
    for code in ("HLF", "NHF"):
        (organisation,) = await _organisations(world, code)
        first = await world.remind(organisation)
        again = await world.remind(organisation)
        assert first.processed == first.skipped + first.created + first.not_due
        assert first.created > 0
        assert first.failed == again.created == 0
        assert first.missing_coordinator > 0


async def _organisations(world: World, code: str) -> list[Organisation]:
    async with world.transaction() as conn:
        return await queries.list_organisations(conn, code=code)
