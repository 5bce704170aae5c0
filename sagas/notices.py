"""Groups become rows and one message each, in the caller's transaction.

The bulk statements are the rule. Where one of them fails, the groups are written one by one, each
behind its own savepoint, so that one that cannot be built leaves the others standing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from psycopg import DatabaseError, OperationalError

from handlers.commands import NotificationRequested, PushRequested
from outbox import Publication, apublish_many
from sagas import queries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from uuid import UUID

    from psycopg import AsyncConnection

    from sagas.grouping import Group
    from sagas.run import Organisation, RunContext

log = structlog.get_logger("sagas")

_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Opened:
    """The groups that were written and published, and those that could not be."""

    groups: tuple[Group, ...]
    failed: tuple[Group, ...]


async def open_groups(
    conn: AsyncConnection[Any],
    organisation: Organisation,
    groups: Sequence[Group],
    *,
    run: RunContext,
) -> Opened:
    """Write `groups` with items and log rows and ask for each group's notification.

    A group whose dedup key is taken counts as failed: its items are in no push of this call.
    """
    ids: dict[str, UUID] = {}
    for start in range(0, len(groups), _PAGE):
        page = groups[start : start + _PAGE]
        try:
            async with conn.transaction():
                ids.update(await _open(conn, organisation, page, run))
        except DatabaseError as error:
            raise_if_lost(error)
            ids.update(await _open_one_by_one(conn, organisation, page, run))
    return Opened(
        groups=tuple(group for group in groups if group.dedup_key in ids),
        failed=tuple(group for group in groups if group.dedup_key not in ids),
    )


async def send_again(conn: AsyncConnection[Any], group_ids: Iterable[UUID]) -> None:
    """Ask for the push of these groups once more; their inbox rows exist."""
    publications = [
        Publication(message=PushRequested(group_id=group_id)) for group_id in sorted(group_ids)
    ]
    for page in _pages(publications):
        await apublish_many(conn, page)


def raise_if_lost(error: DatabaseError) -> None:
    """Raise `error` if the transaction or the connection is lost with it, not one statement."""
    if isinstance(error, OperationalError):
        raise error


async def _open(
    conn: AsyncConnection[Any], organisation: Organisation, groups: Sequence[Group], run: RunContext
) -> dict[str, UUID]:
    ids = await queries.insert_groups(conn, organisation.id, groups, run=run)
    await queries.insert_items(conn, groups, ids)
    await queries.insert_log(conn, groups, ids, now=run.now)
    await apublish_many(
        conn,
        [
            Publication(message=NotificationRequested(group_id=group_id))
            for group_id in ids.values()
        ],
    )
    return ids


async def _open_one_by_one(
    conn: AsyncConnection[Any], organisation: Organisation, groups: Sequence[Group], run: RunContext
) -> dict[str, UUID]:
    ids: dict[str, UUID] = {}
    for group in groups:
        try:
            async with conn.transaction():
                ids.update(await _open(conn, organisation, [group], run))
        except DatabaseError as error:
            raise_if_lost(error)
            log.error(  # noqa: TRY400 - a foreign text may quote values
                "group.refused",
                run_id=str(run.run_id),
                kind=group.kind.value,
                items=len(group.items),
                sqlstate=error.sqlstate,
                mentor_ids=[str(item.mentor_id) for item in group.items[:10]],
            )
    return ids


def _pages(publications: Sequence[Publication]) -> Iterator[Sequence[Publication]]:
    for start in range(0, len(publications), _PAGE):
        yield publications[start : start + _PAGE]
