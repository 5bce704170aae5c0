"""The statements of what people do by hand: rights, audit, versions of a mentor's visibility."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from handlers.dispatch import RecipientOutcome
from sagas.run import Organisation
from sagas.statements import statement

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from sagas.audit import AuditEntry


@dataclass(frozen=True, slots=True)
class LockedMentor:
    """What a decision about a mentor's visibility needs, under his row's lock."""

    organisation_id: UUID
    visibility_channel: str
    visibility_version: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A mentor's status and the newest version of his visibility, and where he belongs."""

    status: str
    version: int
    organisation: Organisation


@dataclass(frozen=True, slots=True)
class LoggedDispatch:
    """One row of the notification log; `group_id` None: its push is not kept any more."""

    organisation_id: UUID
    mentor_id: UUID
    recipient_id: UUID
    status: str
    group_id: UUID | None


async def lock_mentor(conn: AsyncConnection[Any], mentor_id: UUID) -> LockedMentor | None:
    """Lock a mentor's row until the transaction ends; None if there is no such mentor."""
    async with conn.cursor(row_factory=class_row(LockedMentor)) as cursor:
        await cursor.execute(statement("lock_mentor"), {"mentor_id": mentor_id})
        return await cursor.fetchone()


async def actor_role(conn: AsyncConnection[Any], *, actor_id: UUID, mentor_id: UUID) -> str | None:
    """The widest role in which the actor may follow up this mentor's sync; None: he may not."""
    params = {"actor_id": actor_id, "mentor_id": mentor_id}
    cursor = await conn.execute(statement("actor_role"), params)
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def recent_action(  # noqa: PLR0913 - what makes two clicks one
    conn: AsyncConnection[Any],
    *,
    organisation_id: UUID,
    mentor_id: UUID,
    action: str,
    since: datetime,
    subject: Mapping[str, Any] | None = None,
) -> Mapping[str, Any] | None:
    """What the last such action on this mentor since `since` led to; None: there was none.

    `subject` narrows it to actions whose subject holds the same.
    """
    params = {
        "organisation_id": organisation_id,
        "mentor_id": mentor_id,
        "action": action,
        "since": since,
        "subject": Jsonb(dict(subject or {})),
    }
    cursor = await conn.execute(statement("recent_action"), params)
    row = await cursor.fetchone()
    return None if row is None else dict(row[1])


async def bump_visibility(
    conn: AsyncConnection[Any], mentor_id: UUID, *, at_least: int = 0, reason: str, now: datetime
) -> int | None:
    """Publish a new version of the same state, above ours and `at_least`; None: no channel."""
    params = {"mentor_id": mentor_id, "at_least": at_least, "reason": reason, "now": now}
    cursor = await conn.execute(statement("bump_visibility"), params)
    row = await cursor.fetchone()
    return None if row is None or row[0] is None else int(row[0])


async def standing_of_mentor(conn: AsyncConnection[Any], mentor_id: UUID) -> Standing | None:
    """How a mentor stands; None if there is no such mentor."""
    cursor = await conn.execute(statement("standing_of_mentor"), {"mentor_id": mentor_id})
    row = await cursor.fetchone()
    return None if row is None else Standing(row[0], int(row[1]), Organisation(*row[2:]))


async def change_by_hand(  # noqa: PLR0913 - one act, all of it named
    conn: AsyncConnection[Any],
    *,
    mentor_id: UUID,
    actor_id: UUID,
    paused: bool,
    reason: str | None,
    now: datetime,
) -> tuple[bool, int, str | None]:
    """Pause or reactivate a mentor: whether it changed, his version, and the word for why not."""
    params = {"mentor_id": mentor_id, "actor_id": actor_id, "reason": reason, "now": now}
    name = "pause_mentor" if paused else "reactivate_mentor"
    cursor = await conn.execute(statement(name), params)
    row = await cursor.fetchone()
    assert row is not None, "the functions return one row"
    return bool(row[0]), int(row[1] or 0), row[2]


async def find_dispatch(conn: AsyncConnection[Any], log_id: UUID) -> LoggedDispatch | None:
    """A row of the notification log as it stands; None if there is none."""
    async with conn.cursor(row_factory=class_row(LoggedDispatch)) as cursor:
        await cursor.execute(statement("find_dispatch"), {"log_id": log_id})
        return await cursor.fetchone()


async def lock_dispatch(conn: AsyncConnection[Any], log_id: UUID) -> LoggedDispatch | None:
    """Lock a row of the notification log until the transaction ends; None if there is none."""
    async with conn.cursor(row_factory=class_row(LoggedDispatch)) as cursor:
        await cursor.execute(statement("lock_dispatch"), {"log_id": log_id})
        return await cursor.fetchone()


async def lock_pushes_of_group(
    conn: AsyncConnection[Any], group_id: UUID, *, handler: str
) -> list[int]:
    """Lock the deliveries of a group's push that are dead or unknown; their ids."""
    params = {"group_id": group_id, "handler": handler}
    cursor = await conn.execute(statement("lock_pushes_of_group"), params)
    return [delivery_id async for (delivery_id,) in cursor]


async def owners_of_addresses(
    conn: AsyncConnection[Any], addresses: Collection[str]
) -> dict[str, UUID]:
    """Whose devices these are, by address; what nobody registered is left out."""
    cursor = await conn.execute(statement("owners_of_addresses"), {"addresses": list(addresses)})
    return {address: user_id async for address, user_id in cursor}


async def turn_scope(  # noqa: PLR0913 - the columns of one row
    conn: AsyncConnection[Any],
    organisation_id: UUID,
    *,
    flag: str,
    until: datetime | None,
    reason: str,
    actor_id: UUID,
    now: datetime,
) -> None:
    """Turn the emergency switch on until an instant, or with None off."""
    params = {
        "organisation_id": organisation_id,
        "flag": flag,
        "until": until,
        "reason": reason,
        "actor_id": actor_id,
        "now": now,
    }
    await conn.execute(statement("turn_scope"), params)


async def list_scopes(
    conn: AsyncConnection[Any], *, flag: str, now: datetime
) -> list[tuple[Any, ...]]:
    """Code, whether it is wide, until when and why, for every organisation."""
    cursor = await conn.execute(statement("list_scopes"), {"flag": flag, "now": now})
    return await cursor.fetchall()


async def insert_audit(conn: AsyncConnection[Any], entry: AuditEntry) -> int:
    """Append `entry`; its id."""
    params = {
        "at": entry.at,
        "actor_id": entry.actor_id,
        "actor_role": entry.actor_role,
        "action": entry.action,
        "organisation_id": entry.organisation_id,
        "mentor_id": entry.mentor_id,
        "subject": Jsonb(dict(entry.subject)),
        "reason": entry.reason,
        "before": None if entry.before is None else Jsonb(dict(entry.before)),
        "after": None if entry.after is None else Jsonb(dict(entry.after)),
        "request_id": entry.request_id,
    }
    cursor = await conn.execute(statement("insert_audit"), params)
    row = await cursor.fetchone()
    assert row is not None, "an insert returns its row"
    return int(row[0])


async def unanswered_checks(
    conn: AsyncConnection[Any], integrations: Sequence[str], *, checks: int, type_: str
) -> list[tuple[str, bool, bool]]:
    """Integration, whether its newest `checks` had no answer, and whether that is alerted."""
    params = {"integrations": list(integrations), "checks": checks, "type": type_}
    cursor = await conn.execute(statement("unanswered_checks"), params)
    return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]


async def widest_role(
    conn: AsyncConnection[Any], actor_id: UUID, *, organisation_id: UUID | None
) -> str | None:
    """The widest role the actor holds there (None: anywhere); None: he holds none."""
    params = {"actor_id": actor_id, "organisation_id": organisation_id}
    cursor = await conn.execute(statement("widest_role"), params)
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def concerned_by_delivery(
    conn: AsyncConnection[Any], delivery_id: int
) -> tuple[str | None, int, int, UUID | None] | None:
    """Key, whether it waits, whether it is dead, its organisation; None: nothing to retry."""
    cursor = await conn.execute(statement("concerned_by_delivery"), {"delivery_id": delivery_id})
    row = await cursor.fetchone()
    return None if row is None else (row[0], int(row[1]), int(row[2]), row[3])


async def insert_credential_check(  # noqa: PLR0913 - the columns of one row
    conn: AsyncConnection[Any],
    *,
    integration: str,
    checked_at: datetime,
    outcome: str,
    reason: str | None,
    hint: str | None,
    run_id: UUID | None = None,
) -> None:
    """Append what one check gave."""
    params = {
        "integration": integration,
        "checked_at": checked_at,
        "outcome": outcome,
        "reason": reason,
        "hint": hint,
        "run_id": run_id,
    }
    await conn.execute(statement("insert_credential_check"), params)


async def told_of_change(
    conn: AsyncConnection[Any], mentor_id: UUID, *, event: str, to_status: str
) -> list[RecipientOutcome] | None:
    """How each recipient's push about the newest change ended; None: there was no such change."""
    params = {"mentor_id": mentor_id, "event": event, "to_status": to_status}
    rows = await (await conn.execute(statement("told_of_change"), params)).fetchall()
    if not rows:
        return None
    return [RecipientOutcome(*row) for row in rows if row[0] is not None]
