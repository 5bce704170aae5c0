"""Two organisations to try things out on, the same ones from the same seed.

HLF is shown on a portal, NHF is not. Among the mentors there are some of every kind the rules
speak of: in each tier, lapsed, renewed, revoked, paused, in several chapters, without coordinator,
without device; and certificates that end around the nights Oslo's clocks change. Device addresses
tell the emulator how to answer: `ok-`, `unreg-` (never registered), `flaky2-` (fails twice).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from psycopg.errors import UndefinedColumn, UndefinedTable

from outbox.errors import ConfigurationError
from outbox.readiness import connect
from sagas import queries, queries_seed
from sagas.tiers import local_date

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from psycopg import AsyncConnection

OSLO: Final = ZoneInfo("Europe/Oslo")

_ORGANISATIONS: Final = (
    ("HLF", "Hørselshemmedes Landsforbund", "webhook", ("Oslo", "Bergen", "Tromsø", "Ingen")),
    ("NHF", "Norges Handikapforbund", "none", ("Trondheim", "Stavanger", "Bodø", "Ingen")),
)
_ORPHANED: Final = "Ingen"
"""The chapter nobody coordinates."""

_DAYS: Final = (
    (60, 45, 31, 30, 21, 15, 14, 10, 8, 7, 3, 1, 0)
    + (-1, -2, -10, -29, -31, -90)
    + (61, 100, 180, 300, 400, 500) * 3
)
"""How far from their last valid day certificates are: every tier's edges, and plenty of time."""


@dataclass(frozen=True, slots=True)
class SeedCounts:
    """How much was sown."""

    organisations: int
    chapters: int
    mentors: int
    coordinators: int
    certificates: int
    devices: int

    def as_json(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


@dataclass(slots=True)
class Rows:
    """Rows to insert, as tuples in the order of their statements' columns."""

    organisations: list[tuple[Any, ...]] = field(default_factory=list)
    chapters: list[tuple[Any, ...]] = field(default_factory=list)
    mentors: list[tuple[Any, ...]] = field(default_factory=list)
    memberships: list[tuple[Any, ...]] = field(default_factory=list)
    roles: list[tuple[Any, ...]] = field(default_factory=list)
    assignments: list[tuple[Any, ...]] = field(default_factory=list)
    certificates: list[tuple[Any, ...]] = field(default_factory=list)
    devices: list[tuple[Any, ...]] = field(default_factory=list)


async def check_unused(dsn: str) -> None:
    """Raise `ConfigurationError` if the database holds organisations; nothing is changed there."""
    async with await connect(dsn) as conn:
        try:
            used = bool(await queries.list_organisations(conn))
        except UndefinedTable:
            used = False
        except UndefinedColumn:  # somebody else's table of that name
            used = True
    if used:
        raise ConfigurationError(
            "the database of DATABASE_URL holds organisations already, and the demo needs an empty "
            "one; create one, or unset DATABASE_URL: the demo then brings a server of its own"
        )


async def seed(
    conn: AsyncConnection[Any], *, mentors: int = 200, now: datetime, random: Random
) -> SeedCounts:
    """Sow `mentors` people into two new organisations, in the caller's transaction.

    The same `mentors`, `now` and seed of `random` give the same rows. Raises a unique violation
    where organisations of these codes exist already.
    """
    rows = rows_of(mentors=mentors, now=now, random=random)
    await queries_seed.insert_rows(conn, rows, now=now)
    return SeedCounts(
        organisations=len(rows.organisations),
        chapters=len(rows.chapters),
        mentors=len(rows.mentors),
        coordinators=len({role[0] for role in rows.roles}),
        certificates=len(rows.certificates),
        devices=len(rows.devices),
    )


def rows_of(*, mentors: int, now: datetime, random: Random) -> Rows:
    """The rows `seed` inserts; no clock, no database."""
    return _Sower(local_date(now, OSLO), now, random).sow(mentors)


class _Sower:
    """Makes rows, drawing from one source of randomness in one order."""

    def __init__(self, today: date, now: datetime, random: Random) -> None:
        self._today, self._now, self._random = today, now, random
        self._rows = Rows()
        self._clock_changes = tuple(_clock_changes(today))

    def sow(self, mentors: int) -> Rows:
        """Everything: two thirds of the mentors belong to the first organisation."""
        split = mentors * 2 // 3
        for (code, name, channel, chapters), count in zip(
            _ORGANISATIONS, (split, mentors - split), strict=True
        ):
            organisation = self._uuid()
            self._rows.organisations.append((organisation, code, name, channel))
            places = {chapter: self._uuid() for chapter in chapters}
            self._rows.chapters += [(place, organisation, name) for name, place in places.items()]
            coordinators = self._staff(organisation, places)
            for number in range(count):
                self._mentor(organisation, places, coordinators, number)
        return self._rows

    def _staff(self, organisation: UUID, places: dict[str, UUID]) -> dict[UUID, list[UUID]]:
        """Two coordinators and an admin per chapter but one, one shared by two, one admin above."""
        coordinators: dict[UUID, list[UUID]] = {}
        staffed = [place for name, place in places.items() if name != _ORPHANED]
        for place in staffed:
            coordinators[place] = [self._person(organisation, place, "coordinator") for _ in "ab"]
            self._person(organisation, place, "chapter_admin")
        shared = coordinators[staffed[0]][0]
        self._rows.roles.append((shared, organisation, staffed[1], "coordinator"))
        coordinators[staffed[1]].append(shared)
        self._person(organisation, None, "org_admin")
        return coordinators

    def _person(self, organisation: UUID, place: UUID | None, role: str) -> UUID:
        person = self._uuid()
        self._rows.roles.append((person, organisation, place, role))
        self._device(person)
        return person

    def _mentor(
        self,
        organisation: UUID,
        places: dict[str, UUID],
        coordinators: dict[UUID, list[UUID]],
        number: int,
    ) -> None:
        mentor = self._uuid()
        status = "inactive" if _each(29, number) else "paused" if _each(23, number) else "active"
        self._rows.mentors.append((mentor, organisation, status))
        homes = self._homes(places, number)
        self._rows.memberships += [(mentor, home) for home in homes]
        if number % 5 == 0 and homes and homes[0] in coordinators:
            self._rows.assignments.append((mentor, self._random.choice(coordinators[homes[0]])))
        if not _each(11, number):  # every eleventh has no device
            self._device(mentor)
        if _each(13, number):
            self._device(mentor)
        self._certificates(mentor, number)

    def _homes(self, places: dict[str, UUID], number: int) -> list[UUID]:
        """Mostly one chapter; some two, some the one without coordinator, a few none."""
        staffed = [place for name, place in places.items() if name != _ORPHANED]
        if _each(31, number):
            return []
        if _each(17, number):
            return [places[_ORPHANED]]
        return self._random.sample(staffed, 2 if _each(4, number) else 1)

    def _certificates(self, mentor: UUID, number: int) -> None:
        if _each(37, number):
            return  # nobody certified him
        days = _DAYS[number % len(_DAYS)]
        expiry = self._today + timedelta(days=days)
        if _each(19, number):
            expiry = self._random.choice(self._clock_changes)
        self._certificate(mentor, "peer_mentor", expiry)
        if _each(7, number):  # renewed: an older one stands beside it
            self._certificate(mentor, "peer_mentor", expiry - timedelta(days=730))
        if _each(41, number):  # a newer one was taken back
            self._certificate(mentor, "peer_mentor", expiry + timedelta(days=365), revoked=True)
        if _each(6, number):
            first_aid = self._today + timedelta(days=self._random.choice(_DAYS))
            self._certificate(mentor, "first_aid", first_aid, required=False)

    def _certificate(
        self,
        mentor: UUID,
        kind: str,
        expiry: date,
        *,
        required: bool = True,
        revoked: bool = False,
    ) -> None:
        issued_on = expiry - timedelta(days=730)
        revoked_at = self._now - timedelta(days=1) if revoked else None
        self._rows.certificates.append(
            (self._uuid(), mentor, kind, issued_on, expiry, required, revoked_at)
        )

    def _device(self, user: UUID) -> None:
        kind = self._random.choices(("ok", "unreg", "flaky2"), weights=(94, 3, 3))[0]
        address = f"{kind}-{self._random.getrandbits(64):016x}"
        platform = self._random.choice(("android", "ios", "web"))
        self._rows.devices.append((user, address, platform))

    def _uuid(self) -> UUID:
        return UUID(int=self._random.getrandbits(128), version=4)


def _each(nth: int, number: int) -> bool:
    """Whether `number` is every nth one's turn, the first at `nth - 1`."""
    return number % nth == nth - 1


def _clock_changes(today: date) -> Iterator[date]:
    """The last valid days around Oslo's next two changes of clock: the eve, the day, the morrow."""
    found = 0
    for ahead in range(370):
        day = today + timedelta(days=ahead)
        offsets = {
            datetime(each.year, each.month, each.day, tzinfo=OSLO).utcoffset()
            for each in (day, day + timedelta(days=1))
        }
        if len(offsets) > 1:
            found += 1
            yield from (day + timedelta(days=near) for near in (-1, 0, 1))
        if found == 2:  # noqa: PLR2004 - to summer time and back
            return
