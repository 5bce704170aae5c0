"""Break-glass: an administrator sends visibility by hand while nothing else can (SYN-14, CRD-4).

Straight from the database to the portal: no relay, scheduler or circuit is asked. Rights come from
tables and every act is audited, the refused ones too: the beginning before the first call, each
mentor with his page, the end with its counts. Versions are as they stand, so nothing newer at the
portal is overwritten; what it confirms is told to the sagas, which close their alerts once a relay
lives.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from handlers.commands import VisibilityInSync
from outbox import Publication, apublish_many
from sagas import audit, queries_access, queries_emergency, queries_reconcile
from sagas.audit import AuditEntry
from sagas.coordinator import Forbidden
from sagas.operator import OF_ALL
from sagas.visibility import ALERTS, VISIBILITY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from sagas.queries_emergency import Chosen

ACTION: Final = "sync.break_glass"
PAGE: Final = 100
"""Mentors sent in one transaction; what a page learnt is kept although the next one fails."""

CONFIRMED: Final = frozenset({"applied", "duplicate"})
ENDED_WELL: Final = CONFIRMED | {"accepted", "stale"}
WHO_MAY: Final = "an administrator of all organisations"


class Sent(Protocol):
    """What became of one mentor; `answer` is the portal's word or the reason there is none."""

    @property
    def mentor_id(self) -> UUID:
        """Whom."""
        ...

    @property
    def answer(self) -> str:
        """What came back."""
        ...

    @property
    def hint(self) -> str | None:
        """What a person can do."""
        ...


class Hands(Protocol):
    """A way to one portal that is open for this run."""

    async def check(self) -> None:
        """Ask who we are. Raises what a refusal stands for."""
        ...

    async def send(self, conn: AsyncConnection[Any], mentors: Sequence[UUID]) -> Sequence[Sent]:
        """Send these, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    """One mentor of the report; `answer` is `planned` on a dry run."""

    mentor_id: UUID
    organisation: str
    version: int
    visible: bool
    danger: bool
    answer: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class BreakGlassReport:
    """What was done, the oldest danger first."""

    dry_run: bool
    lines: tuple[Line, ...]

    @property
    def totals(self) -> dict[str, int]:
        """How many had each answer."""
        return dict(Counter(line.answer for line in self.lines))

    @property
    def ok(self) -> bool:
        """Whether nobody is left whom the portal did not take."""
        return self.dry_run or all(line.answer in ENDED_WELL for line in self.lines)

    def as_json(self) -> dict[str, Any]:
        """The report as one document."""
        lines = [{**asdict(line), "mentor_id": str(line.mentor_id)} for line in self.lines]
        return {"dry_run": self.dry_run, "ok": self.ok, "totals": self.totals, "lines": lines}


@dataclass(frozen=True, slots=True)
class Person:
    """Who breaks the glass, why, and when it was."""

    actor_id: UUID
    why: str
    now: datetime


async def choose(
    conn: AsyncConnection[Any],
    person: Person,
    *,
    mentors: Sequence[UUID] | None,
    organisation: str | None,
) -> list[Chosen]:
    """Check the right, note the beginning, and say whom it concerns, the oldest danger first.

    Owns its transaction: give an idle connection. Raises `Forbidden`, which is audited.
    """
    async with conn.transaction():
        role = await queries_access.widest_role(conn, person.actor_id, organisation_id=None)
        if role in OF_ALL:
            found = await queries_emergency.break_glass_mentors(
                conn, mentors=mentors, organisation=organisation, now=person.now
            )
            await _note(conn, person, str(role), {"outcome": "begun", "chosen": len(found)})
            return found
        await _note(conn, person, audit.NO_ROLE, {"outcome": "refused"})
    raise Forbidden(what="synchronising by hand", who_may=WHO_MAY)


def plan(chosen: Sequence[Chosen]) -> BreakGlassReport:
    """What would be sent."""
    return BreakGlassReport(True, tuple(_line(one, "planned") for one in chosen))


async def send(
    conn: AsyncConnection[Any], person: Person, chosen: Sequence[Chosen], hands: Hands
) -> BreakGlassReport:
    """Send `chosen` in their order and report; each page commits with its audit."""
    lines: list[Line] = []
    for start in range(0, len(chosen), PAGE):
        page = chosen[start : start + PAGE]
        async with conn.transaction():
            sent = await hands.send(conn, [one.mentor_id for one in page])
            told = [_line(one, got.answer, got.hint) for one, got in zip(page, sent, strict=True)]
            for one, line in zip(page, told, strict=True):
                await _note(conn, person, "hlf_admin", {"outcome": line.answer}, of=one)
            await _tell_sagas(conn, page, told)
        lines += told
    report = BreakGlassReport(False, tuple(lines))
    async with conn.transaction():
        await _note(conn, person, "hlf_admin", {"outcome": "ended", **report.totals})
    return report


async def _tell_sagas(
    conn: AsyncConnection[Any], page: Sequence[Chosen], told: Sequence[Line]
) -> None:
    """Who was confirmed while his saga still waits, or an alert is open, is told to it."""
    confirmed = {line.mentor_id for line in told if line.answer in CONFIRMED}
    publications = []
    for organisation_id in sorted({one.organisation_id for one in page}):
        watched = await queries_reconcile.watched_mentors(
            conn, organisation_id, saga=VISIBILITY.name, types=ALERTS
        )
        publications += [
            Publication(
                message=VisibilityInSync(
                    mentor_id=one.mentor_id, version=one.version, alerts=watched[one.mentor_id]
                ),
                key=f"mentor:{one.mentor_id}",
            )
            for one in page
            if one.mentor_id in confirmed and one.mentor_id in watched
        ]
    await apublish_many(conn, publications)


async def _note(
    conn: AsyncConnection[Any],
    person: Person,
    role: str,
    after: dict[str, Any],
    *,
    of: Chosen | None = None,
) -> None:
    entry = AuditEntry(
        at=person.now,
        action=ACTION if of is None else f"{ACTION}.mentor",
        actor_id=person.actor_id,
        actor_role=role,
        organisation_id=None if of is None else of.organisation_id,
        mentor_id=None if of is None else of.mentor_id,
        reason=person.why,
        before=None if of is None else {"version": of.version},
        after=after,
    )
    await audit.record(conn, entry)


def _line(one: Chosen, answer: str, hint: str | None = None) -> Line:
    return Line(one.mentor_id, one.organisation, one.version, one.visible, one.danger, answer, hint)
