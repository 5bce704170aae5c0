"""Writes the dashboard's alerts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from handlers.alerts import queries
from handlers.alerts.kinds import KINDS, SEVERITIES
from handlers.commands import AlertClose, AlertOpen
from outbox import Dead, Done, Effect, Handler, Order, Suppressed

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outbox import Attempt, Outcome


@dataclass(frozen=True, slots=True)
class AlertHandler:
    """Opens and closes dashboard alerts, at most one open per type, organisation and subject.

    Both commands belong to one ordered handler: published with the same key, a close cannot
    overtake its open. Opening what is open changes nothing, unless it comes back more severe.
    """

    def handler(self) -> Handler:
        """Return the declaration the engine registers."""
        return Handler(
            name="alerts",
            messages=(AlertOpen, AlertClose),
            effect=Effect.DATABASE,
            call=self.call,
            order=Order.KEYED,
        )

    async def call(
        self, message: AlertOpen | AlertClose, attempt: Attempt, conn: AsyncConnection[Any]
    ) -> Outcome:
        """Write one command's effect."""
        if isinstance(message, AlertOpen):
            return await _open(message, attempt, conn)
        closed = await queries.close_alert(
            conn,
            type_=message.type,
            organisation_id=message.organisation_id,
            mentor_id=message.mentor_id,
            subject=message.subject,
            now=attempt.now,
        )
        return Done({"alert": "closed"}) if closed else Suppressed("not_open")


async def _open(message: AlertOpen, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
    kind = KINDS.get(message.type)
    if kind is None:
        return Dead("alert_type_unknown")
    if message.severity not in SEVERITIES:
        return Dead("severity_unknown")
    opening = await queries.open_alert(
        conn,
        type_=message.type,
        organisation_id=message.organisation_id,
        mentor_id=message.mentor_id,
        subject=message.subject,
        text=kind.text,
        severity=message.severity,
        due_after=kind.due_after,
        now=attempt.now,
    )
    if opening in {queries.Opening.ALREADY_OPEN, queries.Opening.SUBJECT_GONE}:
        return Suppressed(opening.value)
    return Done({"alert": opening.value})
