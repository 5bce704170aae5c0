"""Writes a group's inbox rows, then asks for its push."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from handlers.commands import NotificationRequested, PushRequested
from handlers.in_app import queries
from handlers.in_app.rows import inbox_row
from outbox import Dead, Done, Effect, Handler, Publication, Suppressed, apublish_many

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from psycopg import AsyncConnection

    from handlers.in_app.queries import ItemRow
    from handlers.in_app.rows import InboxRow
    from outbox import Attempt, Outcome

_QUEUED = "queued"
_REPEATED = Suppressed("already_written")


@dataclass(frozen=True, slots=True)
class InAppHandler:
    """Writes one inbox row per item of a group and publishes the group's one push.

    The inbox is the record, the push a nudge (NTF-1): both are in one commit with the settlement.
    Rows carry a key derived from group and position, so a redriven message writes nothing and asks
    for no second push.
    """

    def handler(self) -> Handler:
        """Return the declaration the engine registers."""
        return Handler(
            name="in_app",
            messages=(NotificationRequested,),
            effect=Effect.DATABASE,
            call=self.call,
            call_many=self.call_many,
        )

    async def call(
        self, message: NotificationRequested, attempt: Attempt, conn: AsyncConnection[Any]
    ) -> Outcome:
        """Write one group."""
        return (await self.call_many([(message, attempt)], conn))[attempt.delivery_id]

    async def call_many(
        self, items: Sequence[tuple[NotificationRequested, Attempt]], conn: AsyncConnection[Any]
    ) -> Mapping[int, Outcome]:
        """Write the groups of a batch in three statements, whatever its size; outcomes by delivery.

        A group asked for twice in one batch is written for the first that asks.
        """
        found = await queries.group_items(conn, {message.group_id for message, _ in items})
        rows: dict[UUID, list[InboxRow]] = {}
        decided: dict[int, Outcome] = {}
        first: dict[UUID, Attempt] = {}
        for message, attempt in items:
            if message.group_id in first:
                decided[attempt.delivery_id] = _REPEATED
                continue
            judged = _judged(found.get(message.group_id, ()))
            if isinstance(judged, list):
                first[message.group_id], rows[message.group_id] = attempt, judged
            else:
                decided[attempt.delivery_id] = judged
        if not first:
            return decided
        written = await queries.write_inbox(
            conn, [row for each in rows.values() for row in each], now=items[0][1].now
        )
        await apublish_many(
            conn,
            [
                Publication(
                    message=PushRequested(group_id=group_id),
                    correlation_id=first[group_id].correlation_id,
                )
                for group_id in written
            ],
        )
        for group_id, attempt in first.items():
            count = written.get(group_id)
            decided[attempt.delivery_id] = Done({"rows": count}) if count else _REPEATED
        return decided


def _judged(items: Sequence[ItemRow]) -> list[InboxRow] | Outcome:
    """The rows of one group, or what settles it without any."""
    if not items:
        return Suppressed("group_empty")
    if items[0].status != _QUEUED:
        return Suppressed("group_settled")
    try:
        return [inbox_row(item) for item in items]
    except ValueError:
        return Dead("item_kind_unknown")
