"""Writes the dashboard's alerts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from handlers.alerts import queries
from handlers.alerts.kinds import KINDS, SEVERITIES
from handlers.commands import AlertClose, AlertOpen, AlertOpenV1, SyncUnconfirmed
from outbox import AfterDead, Dead, Done, Effect, Handler, Order, Suppressed, apublish

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outbox import Attempt, Outcome


_SYNC_PENDING = "dynamics_sync_pending"


@dataclass(frozen=True, slots=True)
class AlertHandler:
    """Opens and closes dashboard alerts, at most one open per type, organisation and subject.

    Both commands belong to one ordered handler: published with the same key, a close cannot
    overtake its open, and waits behind an open that was given up: redriven after its close, an
    alert would stay for ever. Opening what is open changes nothing, unless it comes back more
    severe; then the administrators are pushed too, where it is about the portal (ALR-3).
    """

    def handler(self) -> Handler:
        """Return the declaration the engine registers."""
        return Handler(
            name="alerts",
            messages=(AlertOpen, AlertOpenV1, AlertClose),
            effect=Effect.DATABASE,
            call=self.call,
            order=Order.KEYED,
            after_dead=AfterDead.BLOCK,
        )

    async def call(
        self, message: AlertOpenV1 | AlertClose, attempt: Attempt, conn: AsyncConnection[Any]
    ) -> Outcome:
        """Write one command's effect."""
        if isinstance(message, AlertOpenV1):
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


async def _open(message: AlertOpenV1, attempt: Attempt, conn: AsyncConnection[Any]) -> Outcome:
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
        texts=kind.texts(),
        severity=message.severity,
        hint=message.hint if isinstance(message, AlertOpen) else None,
        due_after=kind.due_after,
        now=attempt.now,
    )
    if opening in {queries.Opening.ALREADY_OPEN, queries.Opening.SUBJECT_GONE}:
        return Suppressed(opening.value)
    if opening is queries.Opening.ESCALATED and message.mentor_id and kind.type == _SYNC_PENDING:
        await apublish(conn, SyncUnconfirmed(mentor_id=message.mentor_id))
    return Done({"alert": opening.value})
