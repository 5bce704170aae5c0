"""Writes a group's inbox rows, then asks for its push."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from handlers.commands import NotificationRequested, PushRequested
from handlers.in_app import queries
from handlers.in_app.rows import inbox_row
from outbox import Dead, Done, Effect, Handler, Suppressed, apublish

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outbox import Attempt, Outcome

_QUEUED = "queued"


@dataclass(frozen=True, slots=True)
class InAppHandler:
    """Writes one inbox row per item of a group and publishes the group's one push.

    The inbox is the record, the push a nudge: both are in one commit with the settlement. Rows
    carry a key derived from group and position, so a redriven message writes nothing and asks for
    no second push.
    """

    def handler(self) -> Handler:
        """Return the declaration the engine registers."""
        return Handler(
            name="in_app",
            messages=(NotificationRequested,),
            effect=Effect.DATABASE,
            call=self.call,
        )

    async def call(
        self, message: NotificationRequested, attempt: Attempt, conn: AsyncConnection[Any]
    ) -> Outcome:
        """Write one group."""
        items = await queries.group_items(conn, message.group_id)
        if not items:
            return Suppressed("group_empty")
        if items[0].status != _QUEUED:
            return Suppressed("group_settled")
        try:
            rows = [inbox_row(message.group_id, item) for item in items]
        except ValueError:
            return Dead("item_kind_unknown")
        written = await queries.write_inbox(
            conn,
            group_id=message.group_id,
            organisation_id=items[0].organisation_id,
            recipient_id=items[0].recipient_id,
            rows=rows,
            now=attempt.now,
        )
        if not written:
            return Suppressed("already_written")
        push = PushRequested(group_id=message.group_id)
        await apublish(conn, push, correlation_id=attempt.correlation_id)
        return Done({"rows": written})
