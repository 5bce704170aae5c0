"""The statements of reminders, sweeps and recipients, one typed function each.

The caller's connection comes first and the transaction is the caller's; nothing here commits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row

from sagas import columns
from sagas.recipients import Directory
from sagas.run import Organisation
from sagas.statements import statement

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import date, datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from handlers.texts import Audience
    from sagas.grouping import Group, Item
    from sagas.run import RunContext
    from sagas.tiers import Tier


@dataclass(frozen=True, slots=True)
class DueCertificate:
    """A certificate that counts and is in reach; without `expiry_date` it cannot be judged."""

    certification_id: UUID
    mentor_id: UUID
    certificate_type: str
    expiry_date: date | None


@dataclass(frozen=True, slots=True)
class Reminder:
    """A tier that fires for a certificate: together with the audience, the key of a claim."""

    mentor_id: UUID
    certification_id: UUID
    certificate_type: str
    expiry_date: date
    tier: Tier
    window_start: date
    window_date: date


@dataclass(frozen=True, slots=True)
class FiredReminder:
    """A reminder somebody claimed before."""

    reminder_id: UUID
    certification_id: UUID
    status: str
    run_id: UUID | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PausedMentor:
    """A mentor the sweep has just paused, and the certificate that decided it."""

    mentor_id: UUID
    certification_id: UUID
    certificate_type: str
    expiry_date: date
    version: int


async def lock_organisation(conn: AsyncConnection[Any], organisation_id: UUID) -> None:
    """Wait until no other transaction claims reminders of this organisation."""
    await conn.execute(statement("lock_organisation"), {"organisation_id": organisation_id})


async def list_organisations(
    conn: AsyncConnection[Any], *, code: str | None = None
) -> list[Organisation]:
    """Every organisation by code, or the one called `code` (none if unknown)."""
    async with conn.cursor(row_factory=class_row(Organisation)) as cursor:
        await cursor.execute(statement("list_organisations"), {"code": code})
        return await cursor.fetchall()


async def due_certificates(  # noqa: PLR0913 - a range and a place in it
    conn: AsyncConnection[Any],
    organisation_id: UUID,
    *,
    first: date,
    last: date,
    after: tuple[UUID, UUID],
    limit: int,
) -> list[DueCertificate]:
    """One page of certificates in reach, by mentor and id, behind the pair `after`."""
    params = {
        "organisation_id": organisation_id,
        "first": first,
        "last": last,
        "after_mentor": after[0],
        "after_certification": after[1],
        "limit": limit,
    }
    async with conn.cursor(row_factory=class_row(DueCertificate)) as cursor:
        await cursor.execute(statement("due_certificates"), params)
        return await cursor.fetchall()


async def count_certificates(conn: AsyncConnection[Any], organisation_id: UUID) -> int:
    """How many records a run of this organisation judges."""
    params = {"organisation_id": organisation_id}
    cursor = await conn.execute(statement("count_certificates"), params)
    return int((await cursor.fetchone() or (0,))[0])


async def fired_reminders(
    conn: AsyncConnection[Any], audience: Audience, reminders: Sequence[Reminder]
) -> dict[UUID, FiredReminder]:
    """Those of `reminders` that were claimed before, by certificate."""
    params = {"audience": audience.value, **_columns(reminders)}
    async with conn.cursor(row_factory=class_row(FiredReminder)) as cursor:
        await cursor.execute(statement("fired_reminders"), params)
        return {fired.certification_id: fired for fired in await cursor.fetchall()}


async def claim_reminders(  # noqa: PLR0913 - whose, which, by whom, as what
    conn: AsyncConnection[Any],
    organisation_id: UUID,
    audience: Audience,
    reminders: Sequence[Reminder],
    *,
    run: RunContext,
    status: str = "claimed",
) -> dict[UUID, UUID]:
    """Claim `reminders`; the ids of those that are ours now, by certificate."""
    params = {
        "organisation_id": organisation_id,
        "audience": audience.value,
        "status": status,
        "run_id": run.run_id,
        "now": run.now,
        "threshold_days": columns.numbers(each.tier.threshold_days for each in reminders),
        **_columns(reminders),
    }
    cursor = await conn.execute(statement("claim_reminders"), params)
    return {certification_id: reminder_id async for reminder_id, certification_id in cursor}


async def release_reminders(
    conn: AsyncConnection[Any], reminder_ids: Collection[UUID]
) -> set[UUID]:
    """Give back those claims that no log row stands for; returns them."""
    params = {"reminder_ids": list(reminder_ids)}
    cursor = await conn.execute(statement("release_reminders"), params)
    return {reminder_id async for (reminder_id,) in cursor}


async def insert_groups(
    conn: AsyncConnection[Any], organisation_id: UUID, groups: Sequence[Group], *, run: RunContext
) -> dict[str, UUID]:
    """Open `groups`; the ids of those that were not open before, by dedup key."""
    params = {
        "organisation_id": organisation_id,
        "recipient_ids": columns.uuids(group.recipient_id for group in groups),
        "kinds": columns.texts(group.kind.value for group in groups),
        "dedup_keys": columns.texts(group.dedup_key for group in groups),
        "run_id": run.run_id,
        "now": run.now,
    }
    cursor = await conn.execute(statement("insert_groups"), params)
    return {dedup_key: group_id async for group_id, dedup_key in cursor}


async def insert_items(
    conn: AsyncConnection[Any], groups: Sequence[Group], ids: Mapping[str, UUID], *, now: datetime
) -> None:
    """Write the items of those `groups` that have an id, and log rows for their reminders."""
    rows = [
        (ids[group.dedup_key], position, item)
        for group in groups
        if group.dedup_key in ids
        for position, item in enumerate(group.items)
    ]
    told = [(*row, row[2].reminder_id) for row in rows if row[2].reminder_id is not None]
    if told:
        params = {
            "group_ids": columns.uuids(group_id for group_id, _, _, _ in told),
            "positions": columns.numbers(position for _, position, _, _ in told),
            "kinds": columns.texts(item.kind.value for _, _, item, _ in told),
            "reminder_ids": columns.uuids(reminder_id for _, _, _, reminder_id in told),
            "recipient_ids": columns.uuids(item.recipient_id for _, _, item, _ in told),
            "steps": columns.numbers(item.step for _, _, item, _ in told),
            "now": now,
        }
        await conn.execute(statement("insert_told"), params)
    changes = [row for row in rows if row[2].reminder_id is None]
    if changes:
        await _insert_changes(conn, changes)


async def _insert_changes(
    conn: AsyncConnection[Any], rows: Sequence[tuple[UUID, int, Item]]
) -> None:
    params = {
        "group_ids": [group_id for group_id, _, _ in rows],
        "positions": [position for _, position, _ in rows],
        "mentor_ids": [item.mentor_id for _, _, item in rows],
        "kinds": [item.kind.value for _, _, item in rows],
        "certificate_types": [item.certificate_type for _, _, item in rows],
        "certification_ids": [item.certification_id for _, _, item in rows],
        "expiry_dates": [item.expiry_date for _, _, item in rows],
        "reasons": [item.reason for _, _, item in rows],
    }
    await conn.execute(statement("insert_items"), params)


async def recent_pushes(
    conn: AsyncConnection[Any], wanted: Sequence[tuple[UUID, Reminder]], *, since: datetime
) -> dict[int, UUID | None]:
    """The places in `wanted` (recipient, reminder) pushed since, and the run that did it."""
    params = {
        "recipient_ids": columns.uuids(recipient_id for recipient_id, _ in wanted),
        "mentor_ids": columns.uuids(reminder.mentor_id for _, reminder in wanted),
        "certification_ids": columns.uuids(reminder.certification_id for _, reminder in wanted),
        "threshold_days": columns.numbers(reminder.tier.threshold_days for _, reminder in wanted),
        "since": since,
    }
    cursor = await conn.execute(statement("recent_pushes"), params)
    return {position - 1: run_id async for position, run_id in cursor}


async def usable_recipients(
    conn: AsyncConnection[Any], user_ids: Collection[UUID], *, seen_since: datetime
) -> set[UUID]:
    """Those of `user_ids` with a device that can be reached."""
    params = {"user_ids": columns.uuids(user_ids), "seen_since": seen_since}
    cursor = await conn.execute(statement("usable_recipients"), params)
    return {user_id async for (user_id,) in cursor}


async def requeue_failed(
    conn: AsyncConnection[Any],
    reminder_ids: Collection[UUID],
    *,
    attempts_max: int,
    permanent: Collection[str],
    now: datetime,
) -> dict[UUID, set[UUID]]:
    """Queue failed pushes of these reminders again; the groups to send, by reminder."""
    params = {
        "reminder_ids": columns.uuids(reminder_ids),
        "attempts_max": attempts_max,
        "permanent": list(permanent),
        "now": now,
    }
    cursor = await conn.execute(statement("requeue_failed"), params)
    again: dict[UUID, set[UUID]] = {}
    async for reminder_id, group_id in cursor:
        again.setdefault(reminder_id, set()).add(group_id)
    return again


async def expire_failed(
    conn: AsyncConnection[Any],
    organisation_id: UUID,
    audience: Audience,
    *,
    permanent: Collection[str],
    now: datetime,
) -> None:
    """End the failed pushes that no run will send again."""
    params = {
        "organisation_id": organisation_id,
        "audience": audience.value,
        "permanent": list(permanent),
        "now": now,
    }
    await conn.execute(statement("expire_failed"), params)


async def load_directory(
    conn: AsyncConnection[Any], organisation_id: UUID, mentor_ids: Collection[UUID]
) -> Directory:
    """Who is who around a batch of mentors, in three statements whatever its size."""
    params = {"organisation_id": organisation_id, "mentor_ids": columns.uuids(mentor_ids)}
    assigned: dict[UUID, set[UUID]] = {}
    async for mentor_id, user_id in await conn.execute(statement("assigned_coordinators"), params):
        assigned.setdefault(mentor_id, set()).add(user_id)
    chapters: dict[UUID, set[UUID]] = {}
    async for mentor_id, chapter_id in await conn.execute(statement("active_chapters"), params):
        chapters.setdefault(mentor_id, set()).add(chapter_id)
    holders: dict[str, dict[UUID, set[UUID]]] = {"coordinator": {}, "chapter_admin": {}}
    organisation: set[UUID] = set()
    async for user_id, chapter_id, role in await conn.execute(statement("role_holders"), params):
        if role == "coordinator":
            organisation.add(user_id)
        if chapter_id is not None:
            holders[role].setdefault(chapter_id, set()).add(user_id)
    return Directory(
        assigned, chapters, holders["coordinator"], holders["chapter_admin"], organisation
    )


async def note_missing_coordinators(
    conn: AsyncConnection[Any],
    organisation_id: UUID,
    found: Mapping[UUID, int],
    *,
    now: datetime,
) -> None:
    """Open or refresh a finding per mentor; `found` maps him to the step that stood in."""
    params = {
        "organisation_id": organisation_id,
        "mentor_ids": list(found),
        "steps": list(found.values()),
        "now": now,
    }
    await conn.execute(statement("note_missing_coordinators"), params)


async def pause_lapsed_mentors(
    conn: AsyncConnection[Any], organisation_id: UUID, *, run: RunContext
) -> list[PausedMentor]:
    """Pause who has lapsed; only those whose state changed."""
    params = {"organisation_id": organisation_id, "run_id": run.run_id, "now": run.now}
    async with conn.cursor(row_factory=class_row(PausedMentor)) as cursor:
        await cursor.execute(statement("pause_lapsed_mentors"), params)
        return await cursor.fetchall()


def _columns(reminders: Sequence[Reminder]) -> dict[str, str]:
    return {
        "mentor_ids": columns.uuids(each.mentor_id for each in reminders),
        "certification_ids": columns.uuids(each.certification_id for each in reminders),
        "certificate_types": columns.texts(each.certificate_type for each in reminders),
        "tiers": columns.texts(each.tier.label for each in reminders),
        "expiry_dates": columns.dates(each.expiry_date for each in reminders),
        "window_starts": columns.dates(each.window_start for each in reminders),
        "window_dates": columns.dates(each.window_date for each in reminders),
    }
