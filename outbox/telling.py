"""Telling those concerned what was decided about deliveries that nobody was trying.

A redrive, a dismissal, a withdrawal: whoever decides, the handler's `record` and the sagas that
watch hear of it in the deciding transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from outbox.handler import Settled
from outbox.outcome import Redriven, Retry, Unknown
from outbox.saga.reports import UnreadableMessage, report_deliveries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outbox.app import App
    from outbox.message import Message
    from outbox.outcome import AnyOutcome
    from outbox.queries import Claimed, Conn, Decided, Overtaken


async def tell(conn: Conn, app: App, rows: Sequence[Decided], outcome: AnyOutcome) -> None:
    """Tell handlers and sagas of `app` that each of `rows` was decided as `outcome`.

    Deliveries of handlers that `app` does not have are another program's, and told by nobody.
    """
    for name in dict.fromkeys(row.handler for row in rows):
        handler = app.handlers.get(name)
        if handler is None or not app.is_heard(handler):
            continue
        settled = [settled_as(app, row, name, outcome) for row in rows if row.handler == name]
        if handler.record is not None:
            await handler.record(conn, settled)
        await report_deliveries(conn, app, settled)


def settled_as(app: App, row: Decided | Overtaken, handler: str, outcome: AnyOutcome) -> Settled:
    """The settlement of a delivery that nobody was trying, as `record` sees it."""
    final = not isinstance(outcome, Retry | Unknown | Redriven)
    return Settled(
        delivery_id=row.id, message_id=row.message_id, handler=handler, topic=row.topic,
        key=row.message_key, sequence=row.sequence, correlation_id=row.correlation_id,
        attempt=row.attempts, message=readable(app, row), outcome=outcome, at=app.clock.now(),
        final=final,
    )  # fmt: skip


def readable(app: App, row: Claimed | Decided | Overtaken) -> Message:
    """The message of `row`, or what stands for one that this code cannot read."""
    read = app.reader(row.topic, row.version)
    if read is None:
        return UnreadableMessage.model_construct()
    try:
        return read(row.payload)
    except ValidationError:
        return UnreadableMessage.model_construct()
