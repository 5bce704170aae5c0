"""Groups become rows and one message each, in the caller's transaction.

The bulk statements are the rule. Where one of them fails, the groups are written one by one, each
behind its own savepoint, and one that fails is written without the items it cannot hold: neither a
group nor an item that cannot be built takes others with it (GRP-4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from psycopg import DatabaseError, OperationalError

from handlers.commands import NotificationRequested, PushRequested
from outbox import Publication, apublish_many
from sagas import queries
from sagas.grouping import regrouped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from uuid import UUID

    from psycopg import AsyncConnection

    from sagas.grouping import Group, Item
    from sagas.run import Organisation, RunContext

log = structlog.get_logger("sagas")

_PAGE: Final = 5_000


@dataclass(frozen=True, slots=True)
class Opened:
    """The groups that were written and published, and the items that are in none of them."""

    groups: tuple[Group, ...]
    unsent: tuple[Item, ...]


async def open_groups(
    conn: AsyncConnection[Any],
    organisation: Organisation,
    groups: Sequence[Group],
    *,
    run: RunContext,
) -> Opened:
    """Write `groups` with items and log rows and ask for each group's notification.

    The items of a group whose dedup key is taken are unsent: they are in no push of this call.
    """
    written: dict[str, Group] = {}
    for start in range(0, len(groups), _PAGE):
        page = groups[start : start + _PAGE]
        try:
            async with conn.transaction():
                opened = await _open(conn, organisation, page, run)
        except DatabaseError as error:
            raise_if_lost(error)
            opened = await _open_one_by_one(conn, organisation, page, run)
        written.update((group.dedup_key, group) for group in opened)
    return Opened(tuple(written.values()), tuple(_unsent(groups, written)))


def _unsent(groups: Sequence[Group], written: Mapping[str, Group]) -> Iterator[Item]:
    for group in groups:
        opened = written.get(group.dedup_key)
        if opened is not group:
            held = {id(item) for item in opened.items} if opened is not None else set()
            yield from (item for item in group.items if id(item) not in held)


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
) -> list[Group]:
    """Those of `groups` that were not open before, now written and asked for."""
    ids = await queries.insert_groups(conn, organisation.id, groups, run=run)
    await queries.insert_items(conn, groups, ids, now=run.now)
    await apublish_many(
        conn,
        [
            Publication(message=NotificationRequested(group_id=group_id))
            for group_id in ids.values()
        ],
    )
    return [group for group in groups if group.dedup_key in ids]


async def _open_one_by_one(
    conn: AsyncConnection[Any], organisation: Organisation, groups: Sequence[Group], run: RunContext
) -> list[Group]:
    opened: list[Group] = []
    for group in groups:
        try:
            async with conn.transaction():
                opened += await _open(conn, organisation, [group], run)
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
            opened += await _open_what_stands(conn, organisation, group, run)
    return opened


async def _open_what_stands(
    conn: AsyncConnection[Any], organisation: Organisation, group: Group, run: RunContext
) -> list[Group]:
    """Open a refused group without the items that are refused by themselves, if any is left."""
    if len(group.items) == 1:
        return []
    standing = [
        item
        for item in group.items
        if await _stands(conn, organisation, regrouped(group, [item]), run)
    ]
    if not standing:
        return []
    try:
        async with conn.transaction():
            return await _open(conn, organisation, [regrouped(group, standing)], run)
    except DatabaseError as error:
        raise_if_lost(error)
        return []


async def _stands(
    conn: AsyncConnection[Any], organisation: Organisation, group: Group, run: RunContext
) -> bool:
    """Whether a group could be opened; it is not."""
    try:
        async with conn.transaction(force_rollback=True):
            await _open(conn, organisation, [group], run)
    except DatabaseError as error:
        raise_if_lost(error)
        return False
    return True


def _pages(publications: Sequence[Publication]) -> Iterator[Sequence[Publication]]:
    for start in range(0, len(publications), _PAGE):
        yield publications[start : start + _PAGE]
