"""Telling sagas how deliveries ended, in the commit that ended them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from outbox import queries
from outbox.handler import receipt_of
from outbox.message import Message
from outbox.outcome import (
    AnyOutcome,
    Dead,
    Done,
    Retry,
    Superseded,
    Suppressed,
    Unknown,
    outcome_reason,
)
from outbox.saga.declaration import DeliveryReport, Report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outbox.app import App
    from outbox.handler import Settled
    from outbox.queries import Conn, Now


class UnreadableMessage(Message, topic="outbox.unreadable"):
    """Stands for a message whose payload its own class refuses."""


async def report_deliveries(conn: Conn, app: App, settled: Sequence[Settled], *, now: Now) -> None:
    """Publish a report to each saga that watches a topic, in the settling transaction."""
    for one in settled:
        kind = _kind(one.outcome, one.attempt)
        if kind is None or isinstance(one.message, UnreadableMessage):
            continue
        for saga in app.watchers(one.topic):
            if kind not in saga.watches[one.topic] or one.handler == saga.name:
                continue  # that it took the message itself is no news to it
            report = DeliveryReport(
                key=saga.correlate(one.message), topic_of=one.topic,
                version_of=type(one.message).declaration.version, handler=one.handler,
                delivery_id=one.delivery_id, report=kind, reason=outcome_reason(one.outcome),
                attempt=one.attempt, receipt=dict(receipt_of(one.outcome) or {}),
                payload=one.message.model_dump(mode="json"),
            )  # fmt: skip
            await publish_to_handler(
                conn,
                saga.name,
                report,
                key=one.key,
                correlation_id=one.correlation_id,
                causation_id=one.message_id,
                now=now,
            )


async def publish_to_handler(  # noqa: PLR0913 - one message's terms
    conn: Conn,
    handler: str,
    message: Message,
    *,
    key: str | None,
    correlation_id: str | None,
    causation_id: int | None,
    now: Now,
    due_at: Any = None,
) -> int:
    """Publish to one handler past the routes; the message's id. Payloads are the engine's own."""
    return await queries.publish_addressed(
        conn, topic=type(message).declaration.topic, payload=message.model_dump_json(), key=key,
        due_at=due_at, correlation_id=correlation_id, headers=json.dumps({}), handler=handler,
        causation_id=causation_id, now=now,
    )  # fmt: skip


def _kind(  # noqa: PLR0911 - one line per outcome
    outcome: AnyOutcome, attempt: int
) -> Report | None:
    match outcome:
        case Done():
            return Report.DONE
        case Suppressed():
            return Report.SUPPRESSED
        case Superseded():
            return Report.SUPERSEDED
        case Dead():
            return Report.DEAD
        case Unknown():
            return Report.UNKNOWN
        case Retry(spent=True) if attempt == 1:
            return Report.FIRST_FAILURE
        case _:
            return None
